/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "tools/doctor/room.h"

static void below_root(const struct doctor *d, const char *path, char full[PATH_MAX])
{
	snprintf(full, PATH_MAX, "%s%s", d->root, path);
}

void sys_text(const struct doctor *d, const char *path, char text[DOCTOR_TEXT])
{
	char full[PATH_MAX];
	below_root(d, path, full);
	text[0] = 0;
	FILE *f = fopen(full, "re");
	if (!f)
		return;
	text[fread(text, 1, DOCTOR_TEXT - 1, f)] = 0;
	fclose(f);
	text[strcspn(text, "\n")] = 0;
}

int64_t sys_number(const struct doctor *d, const char *path, int64_t dflt)
{
	char text[DOCTOR_TEXT], *end;
	sys_text(d, path, text);
	long long v = strtoll(text, &end, 0);
	return end == text ? dflt : v;
}

bool sys_exists(const struct doctor *d, const char *path)
{
	char full[PATH_MAX];
	below_root(d, path, full);
	return access(full, F_OK) == 0;
}

void sys_link(const struct doctor *d, const char *path, char name[DOCTOR_TEXT])
{
	char full[PATH_MAX], to[PATH_MAX];
	below_root(d, path, full);
	ssize_t n = readlink(full, to, sizeof(to) - 1);
	to[max_of(n, (ssize_t)0)] = 0;
	const char *slash = strrchr(to, '/');
	snprintf(name, DOCTOR_TEXT, "%.*s", DOCTOR_TEXT - 1, slash ? slash + 1 : to);
}

static int is_visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

unsigned sys_each(struct doctor *d, const char *path, doctor_each_t *each, void *arg)
{
	char full[PATH_MAX];
	struct dirent **e = NULL;
	below_root(d, path, full);
	int n = scandir(full, &e, is_visible, alphasort);
	for (int i = 0; i < n; i++) {
		if (each)
			each(d, e[i]->d_name, arg);
		free(e[i]);
	}
	free(e);
	return n > 0 ? (unsigned)n : 0;
}

void sys_line(const struct doctor *d, const char *path, const char *key, char text[DOCTOR_TEXT])
{
	char full[PATH_MAX], line[DOCTOR_TEXT];
	below_root(d, path, full);
	text[0] = 0;
	FILE *f = fopen(full, "re");
	if (!f)
		return;
	while (!text[0] && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		line[strcspn(line, "\n")] = 0;
		const char *rest = line + strlen(key);
		snprintf(text, DOCTOR_TEXT, "%s", rest + strspn(rest, " \t:"));
	}
	fclose(f);
}

bool sys_leads_through(const struct doctor *d, const char *path, const char *folder)
{
	char full[PATH_MAX], real[PATH_MAX], part[DOCTOR_TEXT];
	below_root(d, path, full);
	if (!realpath(full, real))
		return false;
	snprintf(part, sizeof(part), "/%.64s/", folder);
	strncat(real, "/", sizeof(real) - strlen(real) - 1);
	return strstr(real, part) != NULL;
}
