/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor/doctor.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tools/doctor/room.h"

#define EXIT_NOT_READY 1
#define EXIT_USAGE 2

static const char usage_text[] =
	"usage: millctl doctor [--data DIR] [--json] [--root DIR]\n"
	"\n"
	"Looks whether this machine is ready for the broker. Each finding has a verdict:\n"
	"ok, note (good to know), warn (works, and not well), fail (does not work), with what\n"
	"follows from it and the command that repairs it. Changes nothing. Exit code 1 when\n"
	"something fails.\n"
	"\n"
	"  --data DIR   where the logs are to be (the current directory)\n"
	"  --json       print JSON\n"
	"  --root DIR   look at the /sys, /proc and /dev below DIR\n";

static const char *const verdicts[] = {"ok", "note", "warn", "fail"};

/* ---- the report ---- */

/* Takes value. */
static void put(json_t *o, const char *key, json_t *value)
{
	CHECK(o && value && json_object_set_new(o, key, value) == 0);
}

__attribute__((format(printf, 1, 0))) static json_t *text_of(const char *fmt, va_list ap)
{
	char text[2 * DOCTOR_TEXT];
	vsnprintf(text, sizeof(text), fmt, ap);
	/* What is not UTF-8 in a file of /sys is no text. */
	json_t *s = json_string(text);
	return s ? s : json_string("?");
}

void doctor_add(struct doctor *d, const char *check, enum verdict verdict, const char *what, ...)
{
	va_list ap;
	json_t *f = json_object();
	va_start(ap, what);
	put(f, "check", json_string(check));
	put(f, "verdict", json_string(verdicts[verdict]));
	put(f, "what", text_of(what, ap));
	va_end(ap);
	put(f, "why", json_null());
	put(f, "repair", json_null());
	CHECK(json_array_append_new(d->findings, f) == 0);
	d->count[verdict]++;
}

static json_t *last(const struct doctor *d)
{
	return json_array_get(d->findings, json_array_size(d->findings) - 1);
}

void doctor_why(struct doctor *d, const char *why, ...)
{
	va_list ap;
	va_start(ap, why);
	put(last(d), "why", text_of(why, ap));
	va_end(ap);
}

void doctor_repair(struct doctor *d, const char *repair, ...)
{
	va_list ap;
	va_start(ap, repair);
	put(last(d), "repair", text_of(repair, ap));
	va_end(ap);
}

static const char *get(const json_t *f, const char *key)
{
	return json_string_value(json_object_get(f, key));
}

static void print_text(const struct doctor *d)
{
	size_t i;
	json_t *f;
	json_array_foreach(d->findings, i, f)
	{
		printf("%-5s %-15s %s\n", get(f, "verdict"), get(f, "check"), get(f, "what"));
		if (get(f, "why"))
			printf("%22s%s\n", "", get(f, "why"));
		if (get(f, "repair"))
			printf("%22s-> %s\n", "", get(f, "repair"));
	}
	printf("%u ok, %u notes, %u warnings, %u failures\n", d->count[DOCTOR_OK],
		d->count[DOCTOR_NOTE], d->count[DOCTOR_WARN], d->count[DOCTOR_FAIL]);
}

static void print_json(const struct doctor *d)
{
	json_t *o = json_object();
	put(o, "ready", json_boolean(d->count[DOCTOR_FAIL] == 0));
	put(o, "findings", json_incref(d->findings));
	char *text = json_dumps(o, JSON_INDENT(2));
	CHECK(text);
	puts(text);
	free(text);
	json_decref(o);
}

/* ---- the command ---- */

int doctor_main(int argc, char **argv)
{
	static const struct option options[] = {{"data", required_argument, NULL, 'd'},
		{"json", no_argument, NULL, 'j'}, {"root", required_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'}, {0}};
	struct doctor d = {.root = "", .data = "."};
	bool json = false;
	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		switch (c) {
		case 'd':
			d.data = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'r':
			d.root = optarg;
			break;
		case 'h':
			return fputs(usage_text, stdout) < 0;
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	d.findings = json_array();
	CHECK(d.findings);
	check_memory(&d);
	check_cpus(&d);
	check_kernel(&d);
	check_ports(&d);
	check_disk(&d);
	if (json)
		print_json(&d);
	else
		print_text(&d);
	json_decref(d.findings);
	return d.count[DOCTOR_FAIL] > 0 ? EXIT_NOT_READY : 0;
}
