/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_LOG_H
#define MR_BASE_LOG_H

/*
 * Operator log: one line per event to stderr, `<RFC 3339 time> LEVEL area: text`. For changes of
 * state and for start and stop; never per packet or per request.
 */
enum log_level { LOG_LV_DEBUG, LOG_LV_INFO, LOG_LV_WARN, LOG_LV_ERROR };

/* Start-up only (before threads exist). Lines below the level are dropped. */
void log_set_level(enum log_level level);
/* Any thread; one write(2) a line, so that lines of threads do not mix. Cut at 1,023 bytes. */
__attribute__((format(printf, 3, 4))) void log_line(
	enum log_level level, const char *area, const char *fmt, ...);

#define log_debug(area, ...) log_line(LOG_LV_DEBUG, area, __VA_ARGS__)
#define log_info(area, ...) log_line(LOG_LV_INFO, area, __VA_ARGS__)
#define log_warn(area, ...) log_line(LOG_LV_WARN, area, __VA_ARGS__)
#define log_error(area, ...) log_line(LOG_LV_ERROR, area, __VA_ARGS__)

#endif
