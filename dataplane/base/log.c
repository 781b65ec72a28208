/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

/* EXC(no mutable file-scope data): the process has one stderr; written once before threads start.
 */
static enum log_level log_min_level = LOG_LV_INFO;

void log_set_level(enum log_level level)
{
	log_min_level = level;
}

void log_line(enum log_level level, const char *area, const char *fmt, ...)
{
	static const char *const names[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
	if (level < log_min_level)
		return;
	struct timespec ts;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	char line[1024];
	size_t n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03ldZ %s %s: ", ts.tv_nsec / 1000000,
		names[level], area);
	va_list ap;
	va_start(ap, fmt);
	int m = vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	n = min_of(n + (size_t)(m > 0 ? m : 0), sizeof(line) - 2);
	line[n++] = '\n';
	ssize_t put = write(STDERR_FILENO, line, n);
	(void)put; /* nowhere left to say that stderr is gone */
}
