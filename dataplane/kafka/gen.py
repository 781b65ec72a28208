#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Generates the codecs of Kafka's messages: messages.h and messages.c from schema/*.kp.

    gen.py --out DIR schema/*.kp

The schema language. One file per API; '#' begins a comment; tabs give the nesting.

    message NAME key N versions A-B flexible V      versions of the codec; flexible: compact fields and
                                                    tagged fields from V on (KIP-482), "none" for never
    request                                         then response, each followed by its fields:
    	FIELD TYPE VERSIONS [nullable=VERSIONS] [tag=N] [default=VALUE]

TYPE is bool int8 int16 int32 int64 float64 uuid string bytes records, the name of a struct whose fields follow one
tab deeper, or [] and one of these for an array; ? and a struct's name for one that may be null (an array of
at most one in C). VERSIONS is "3+", "0-7" or "5": those that have the field
(outside of the message's own range it does not matter). A field with tag=N is a tagged field. default:
what a version without the field reads as, and what a tagged field is when it is absent; 0, "", an
empty array or false when not given, null where it may be null.

For each struct the output has a C struct kp_<message>_<side>[_<struct>], an inline kp_default_ function,
and for each message four functions: decode and encode of request and response.

    int kp_decode_x_request(struct rd *r, int16_t version, struct kp_x_request *out, struct arena *a);
    void kp_encode_x_request(struct kwr *w, int16_t version, const struct kp_x_request *in);

Decoders set every field: those that the version lacks to their default. Unknown tagged fields are skipped.
Bytes after the message are left in the reader: Kafka's broker ignores them, and so may the caller.
"""
import argparse
import os
import re
import sys

SCALARS = {  # type: (C type, KP_ enum, bytes, read, write)
    'bool': ('bool', 'KP_BOOL', 1, 'kp_rd_bool(%s)', 'kp_wr_bool(%s, %s)'),
    'int8': ('int8_t', 'KP_INT8', 1, '(int8_t)rd_u8(%s)', 'wr_u8(%s, (uint8_t)%s)'),
    'int16': ('int16_t', 'KP_INT16', 2, '(int16_t)rd_be16(%s)', 'wr_be16(%s, (uint16_t)%s)'),
    'int32': ('int32_t', 'KP_INT32', 4, '(int32_t)rd_be32(%s)', 'wr_be32(%s, (uint32_t)%s)'),
    'int64': ('int64_t', 'KP_INT64', 8, '(int64_t)rd_be64(%s)', 'wr_be64(%s, (uint64_t)%s)'),
    'float64': ('double', 'KP_FLOAT64', 8, 'kp_rd_double(%s)', 'kp_wr_double(%s, %s)'),
    'uuid': ('struct uuid', 'KP_UUID', 16, 'kp_rd_uuid(%s)', 'kp_wr_uuid(%s, &%s)'),
}
SIZED = {  # type: (C type, KP_ enum, bytes of the length in old and in flexible versions)
    'string': ('struct kstr', 'KP_STRING', 2, 1),
    'bytes': ('struct kbytes', 'KP_BYTES', 4, 1),
    'records': ('struct krecords', 'KP_RECORDS', 4, 1),
}
INF = 32767


class Range:
    """A range of versions, both ends included."""

    def __init__(self, lo, hi):
        self.lo, self.hi = lo, hi

    @staticmethod
    def parse(text):
        m = re.fullmatch(r'(\d+)(\+|-(\d+))?', text)
        if not m:
            raise ValueError('bad versions: ' + text)
        lo = int(m[1])
        return Range(lo, INF if m[2] == '+' else int(m[3]) if m[3] else lo)

    def clip(self, other):
        return Range(max(self.lo, other.lo), min(self.hi, other.hi))

    def empty(self):
        return self.lo > self.hi

    def has(self, v):
        return self.lo <= v <= self.hi

    def test(self, within, var='version'):
        """C condition that `var`, known to be in `within`, is in self; None when always."""
        parts = []
        if self.lo > within.lo:
            parts.append('%s >= %d' % (var, self.lo))
        if self.hi < within.hi:
            parts.append('%s <= %d' % (var, self.hi))
        return ' && '.join(parts) or None


class Field:
    def __init__(self, name, type_, versions, opts):
        self.name = name
        self.maybe = type_.startswith('?')
        self.array = type_.startswith('[]') or self.maybe
        self.type = type_.lstrip('[]?')
        self.versions = versions
        self.null = Range.parse(opts['nullable']).clip(versions) if 'nullable' in opts else Range(1, 0)
        self.tag = int(opts['tag']) if 'tag' in opts else None
        self.default = opts.get('default')
        self.sub = None  # Struct


class Struct:
    def __init__(self, cname):
        self.cname = cname
        self.fields = []

    def plain(self):
        return [f for f in self.fields if f.tag is None]

    def tagged(self):
        return sorted((f for f in self.fields if f.tag is not None), key=lambda f: f.tag)


class Message:
    def __init__(self, name, key, versions, flexible):
        self.name, self.key, self.versions, self.flexible = name, key, versions, flexible
        self.sides = {}  # 'request', 'response': Struct


def parse(path):
    """One schema file."""
    message = None
    stack = []  # structs whose fields may follow, by depth
    with open(path) as f:
        for number, line in enumerate(f, 1):
            line = line.split('#')[0].rstrip()
            if not line.strip():
                continue
            depth = len(line) - len(line.lstrip('\t'))
            words = line.split()
            try:
                if depth == 0 and words[0] == 'message':
                    message = parse_message(words)
                elif depth == 0 and words[0] in ('request', 'response'):
                    side = Struct('kp_%s_%s' % (message.name, words[0]))
                    message.sides[words[0]] = side
                    stack = [side]
                else:
                    parse_field(message, stack, depth, words)
            except (ValueError, KeyError, IndexError) as e:
                sys.exit('%s:%d: %s' % (path, number, e))
    if not message or set(message.sides) != {'request', 'response'}:
        sys.exit('%s: needs message, request and response' % path)
    return message


def parse_message(words):
    opts = dict(zip(words[2::2], words[3::2]))
    flexible = INF if opts['flexible'] == 'none' else Range.parse(opts['flexible']).lo
    return Message(words[1], int(opts['key']), Range.parse(opts['versions']), flexible)


def parse_field(message, stack, depth, words):
    if depth < 1 or depth > len(stack):
        raise ValueError('bad nesting')
    del stack[depth:]
    opts = dict(w.split('=', 1) for w in words[3:])
    if set(opts) - {'nullable', 'tag', 'default'}:
        raise ValueError('unknown option')
    versions = Range.parse(words[2]).clip(message.versions)
    f = Field(words[0], words[1], versions, opts)
    if versions.empty():
        raise ValueError('no version of the message has this field')
    if f.tag is not None and versions.lo < message.flexible:
        raise ValueError('tagged field in a version that is not flexible')
    if f.type not in SCALARS and f.type not in SIZED:
        f.sub = Struct(stack[0].cname + '_' + f.type)
        stack.append(f.sub)
    stack[depth - 1].fields.append(f)


def structs_of(struct):
    """The struct and all below it, inner ones first."""
    out = []
    for f in struct.fields:
        if f.sub:
            out += structs_of(f.sub)
    return out + [struct]


def c_type(f):
    if f.sub:
        return 'struct ' + f.sub.cname
    return (SCALARS.get(f.type) or SIZED[f.type])[0]


def fixed_size(f, version, flexible):
    """Smallest size of the field in a version."""
    if f.tag is not None or not f.versions.has(version):
        return 0
    if f.maybe:
        return 1
    if f.array:
        return 1 if flexible else 4
    if f.sub:
        return min_size(f.sub, version, flexible)
    if f.type in SCALARS:
        return SCALARS[f.type][2]
    return SIZED[f.type][3 if flexible else 2]


def min_size(struct, version, flexible):
    return sum(fixed_size(f, version, flexible) for f in struct.fields) + (1 if flexible else 0)


def min_element(message, f):
    """Smallest size of an element of the array over all versions that have it."""
    sizes = []
    for v in range(f.versions.lo, f.versions.hi + 1):
        flexible = v >= message.flexible
        if f.sub:
            sizes.append(min_size(f.sub, v, flexible))
        elif f.type in SCALARS:
            sizes.append(SCALARS[f.type][2])
        else:
            sizes.append(SIZED[f.type][3 if flexible else 2])
    return max(1, min(sizes))


def default_value(f):
    """C initializer of the default, None for zero."""
    if f.array:
        return None
    if f.type == 'string':
        return 'KSTR_NULL' if f.default == 'null' else None
    if f.type == 'bytes':
        return 'KBYTES_NULL' if f.default == 'null' else None
    if f.sub or f.default is None or f.default in ('0', 'false'):
        return None
    if f.type == 'int64':
        return 'INT64_MIN' if int(f.default, 0) == -2**63 else '%sll' % f.default
    if f.type == 'int32' and int(f.default, 0) == -2**31:
        return 'INT32_MIN'
    return f.default


class Writer:
    def __init__(self, depth=0):
        self.lines = []
        self.depth = depth

    def __call__(self, text=''):
        if text.startswith('}'):
            self.depth -= 1
        self.lines.append('\t' * self.depth + text if text else '')
        if text.endswith('{'):
            self.depth += 1

    def block(self, cond):
        """Opens an if for a condition that may be absent; returns whether it did."""
        if cond:
            self('if (%s) {' % cond)
        return bool(cond)

    def text(self):
        return '\n'.join(self.lines) + '\n'


# ---- messages.h ----


def emit_struct(w, s):
    w('struct %s {' % s.cname)
    for f in s.fields:
        if f.array:
            const = '' if f.sub else 'const '
            w('%s%s *%s;' % (const, c_type(f), f.name))
            w('int32_t n_%s;%s' % (f.name, ' /* -1: null */' if not f.null.empty() else ''))
        else:
            t = c_type(f)
            w('%s %s;' % (t, f.name))
    w('};')
    w()


def emit_default(w, s):
    values = []
    for f in s.fields:
        v = default_value(f)
        if f.array and f.default == 'null':
            values.append('n_%s = -1' % f.name)
        elif v is not None:
            values.append('%s = %s' % (f.name, v))
    w('static inline void kp_default_%s(struct %s *x)' % (s.cname[3:], s.cname))
    w('{')
    w('memset(x, 0, sizeof(*x));')
    for v in values:
        w('x->%s;' % v)
    for f in s.fields:
        if f.sub and not f.array:
            w('kp_default_%s(&x->%s);' % (f.sub.cname[3:], f.name))
    w('}')
    w()


def signatures(m, side):
    n = '%s_%s' % (m.name, side)
    return ('int kp_decode_%s(struct rd *r, int16_t version, struct kp_%s *out, struct arena *a)' % (n, n),
            'void kp_encode_%s(struct kwr *k, int16_t version, const struct kp_%s *in)' % (n, n))


def header(messages):
    w = Writer()
    w('/* Generated by dataplane/kafka/gen.py from dataplane/kafka/schema. */')
    w('#ifndef MR_KAFKA_MESSAGES_H')
    w('#define MR_KAFKA_MESSAGES_H')
    w()
    w('#include "kafka/wire.h"')
    w()
    for line in '''/*
 * Kafka's messages as structs. Strings and bytes are slices of the input (decoding) or borrowed (encoding).
 * An array is a pointer and its count n_<name>, from the arena (decoding) or borrowed (encoding).
 * kp_default_<struct> sets every field to its default; do so before filling in a message to encode.
 *
 * kp_decode_<message>_<side>: 0; KP_E_MALFORMED, KP_E_NOMEM (arena used up) or KP_E_VERSION. Leaves r after
 * the message. kp_encode_<message>_<side>: body only, see kp_response_begin for frame and header; looks at
 * no field that the version lacks; a version that does not exist is our bug. Any thread.
 */'''.split('\n'):
        w.lines.append(line)
    w()
    for m in messages:
        for side in ('request', 'response'):
            w('/* %s %s, versions %d-%d */' % (m.name, side, m.versions.lo, m.versions.hi))
            w()
            for s in structs_of(m.sides[side]):
                emit_struct(w, s)
            for s in structs_of(m.sides[side]):
                emit_default(w, s)
            for sig in signatures(m, side):
                w(sig + ';')
            w()
    w('/* All messages in order of key. */')
    w('#define KP_MESSAGE_COUNT %d' % len(messages))
    w('extern const struct kp_message kp_messages[KP_MESSAGE_COUNT];')
    w()
    w('#endif')
    return w.text()


# ---- messages.c: decode ----


def flex_expr(m, within):
    """C expression for "this version is flexible"."""
    if within.lo >= m.flexible:
        return 'true'
    if within.hi < m.flexible:
        return 'false'
    return 'flex'


def null_expr(f, within):
    if f.null.empty():
        return 'false'
    return f.null.test(within) or 'true'


def emit_read_array(w, m, f, within, rd):
    flex = flex_expr(m, within)
    if f.maybe:
        w('int32_t n = kp_rd_maybe(%s);' % rd)
    else:
        w('int32_t n = kp_rd_count(%s, %s, %s, %d);' % (rd, flex, null_expr(f, within), min_element(m, f)))
    w('out->n_%s = n;' % f.name)
    w('if (n > 0) {')
    w('%s *e = arena_array(a, (size_t)n, sizeof(*e));' % c_type(f))
    w('if (!e)')
    w('\treturn KP_E_NOMEM;')
    w('out->%s = e;' % f.name)
    w('for (int32_t i = 0; i < n; i++) {')
    if f.sub:
        w('int err = dec_%s(%s, version, &e[i], a);' % (f.sub.cname[3:], rd))
        w('if (err)')
        w('\treturn err;')
    elif f.type in SCALARS:
        w('e[i] = %s;' % (SCALARS[f.type][3] % rd))
    else:
        w('e[i] = kp_rd_%s(%s, %s, false);' % (f.type, rd, flex))
    w('}')
    w('}')


def emit_read(w, m, f, within, rd='r'):
    """Reads one field of a version in `within`."""
    if f.array:
        w('{')
        emit_read_array(w, m, f, within, rd)
        w('}')
    elif f.sub:
        w('{')
        w('int err = dec_%s(%s, version, &out->%s, a);' % (f.sub.cname[3:], rd, f.name))
        w('if (err)')
        w('\treturn err;')
        w('}')
    elif f.type in SCALARS:
        w('out->%s = %s;' % (f.name, SCALARS[f.type][3] % rd))
    else:
        w('out->%s = kp_rd_%s(%s, %s, %s);' % (f.name, f.type, rd, flex_expr(m, within), null_expr(f, within)))


def emit_read_tags(w, m, s, within):
    flexible = Range(m.flexible, INF).clip(within)
    if flexible.empty():
        return
    opened = w.block(None if flexible.lo == within.lo else 'flex')
    if not s.tagged():
        w('kp_rd_tags_skip(r);')
    else:
        w('for (uint32_t n_tags = rd_uvarint32(r); n_tags > 0 && !r->bad; n_tags--) {')
        w('struct rd tag;')
        w('switch (kp_rd_tag(r, &tag)) {')
        for f in s.tagged():
            w('case %d:' % f.tag)
            w.depth += 1
            opened_f = w.block(f.versions.test(flexible))
            emit_read(w, m, f, f.versions.clip(flexible), '&tag')
            w('kp_rd_tag_end(r, &tag);')
            if opened_f:
                w('}')
            w('break;')
            w.depth -= 1
        w('default:')
        w('\tbreak;')
        w('}')
        w('}')
    if opened:
        w('}')


def emit_decode(w, m, s, within, top):
    if top:
        w(signatures(m, top)[0])
    else:
        w('static int dec_%s(struct rd *r, int16_t version, struct %s *out, struct arena *a)'
          % (s.cname[3:], s.cname))
    w('{')
    if top:
        w('if (version < %d || version > %d)' % (m.versions.lo, m.versions.hi))
        w('\treturn KP_E_VERSION;')
    body = Writer(1)
    for f in s.plain():
        opened = body.block(f.versions.test(within))
        emit_read(body, m, f, f.versions.clip(within))
        if opened:
            body('}')
    emit_read_tags(body, m, s, within)
    emit_flex(w, m, within, body)
    w('kp_default_%s(out);' % s.cname[3:])
    w.lines += body.lines
    w('return r->bad ? KP_E_MALFORMED : 0;')
    w('}')
    w()


def emit_flex(w, m, within, body):
    """Declares flex if the body looks at it."""
    if re.search(r'\bflex\b', '\n'.join(body.lines)):
        w('const bool flex = version >= %d;' % m.flexible)


# ---- messages.c: encode ----


def emit_write(w, m, f, within, k='k'):
    flex = flex_expr(m, within)
    if f.array:
        w('{')
        if f.maybe:
            w('int32_t n = kp_wr_maybe(&%s->w, in->n_%s);' % (k, f.name))
        else:
            w('int32_t n = kp_wr_len32(&%s->w, %s, %s, in->n_%s);' % (k, flex, null_expr(f, within), f.name))
        w('for (int32_t i = 0; i < n; i++)')
        w.depth += 1
        e = 'in->%s[i]' % f.name
        if f.sub:
            w('enc_%s(%s, version, &%s);' % (f.sub.cname[3:], k, e))
        elif f.type in SCALARS:
            w(SCALARS[f.type][4] % ('&%s->w' % k, e) + ';')
        else:
            w('kp_wr_%s(&%s->w, %s, false, %s);' % (f.type, k, flex, e))
        w.depth -= 1
        w('}')
    elif f.sub:
        w('enc_%s(%s, version, &in->%s);' % (f.sub.cname[3:], k, f.name))
    elif f.type in SCALARS:
        w(SCALARS[f.type][4] % ('&%s->w' % k, 'in->' + f.name) + ';')
    elif f.type == 'records':
        w('kp_wr_records(%s, %s, &in->%s);' % (k, flex, f.name))
    else:
        w('kp_wr_%s(&%s->w, %s, %s, in->%s);' % (f.type, k, flex, null_expr(f, within), f.name))


def is_set(f, x='in'):
    """C condition that a tagged field differs from its default."""
    if f.array:
        return '%s->n_%s != %s' % (x, f.name, '-1' if f.default == 'null' else '0')
    if f.sub:
        return ' || '.join(
            '%s->%s.%s != %s' % (x, f.name, g.name, default_value(g) or '0') for g in f.sub.fields)
    if f.type == 'uuid':
        return '!uuid_is_zero(&%s->%s)' % (x, f.name)
    if f.type == 'string':
        return '%s->%s.len %s' % (x, f.name, '>= 0' if f.default == 'null' else '> 0')
    return '%s->%s != %s' % (x, f.name, default_value(f) or ('false' if f.type == 'bool' else '0'))


def emit_write_tags(w, m, s, within):
    flexible = Range(m.flexible, INF).clip(within)
    if flexible.empty():
        return
    opened = w.block(None if flexible.lo == within.lo else 'flex')
    if not s.tagged():
        w('wr_uvarint(&k->w, 0);')
    else:
        for f in s.tagged():
            cond = is_set(f)
            ver = f.versions.test(flexible)
            if ver:
                cond = '%s && (%s)' % (ver, cond)
            w('const bool set%d = %s;' % (f.tag, cond))
        w('wr_uvarint(&k->w, %s);' % ' + '.join('(set%d ? 1u : 0u)' % f.tag for f in s.tagged()))
        for f in s.tagged():
            w('if (set%d) {' % f.tag)
            w('struct kwr count = kwr_counter(); /* written twice: for its size, and for good */')
            w('struct kwr *c = &count;')
            emit_write(w, m, f, f.versions.clip(flexible), 'c')
            w('wr_uvarint(&k->w, %d);' % f.tag)
            w('wr_uvarint(&k->w, c->w.need);')
            emit_write(w, m, f, f.versions.clip(flexible), 'k')
            w('}')
    if opened:
        w('}')


def emit_encode(w, m, s, within, top):
    if top:
        w(signatures(m, top)[1])
    else:
        w('static void enc_%s(struct kwr *k, int16_t version, const struct %s *in)' % (s.cname[3:], s.cname))
    w('{')
    if top:
        w('CHECK(version >= %d && version <= %d);' % (m.versions.lo, m.versions.hi))
    body = Writer(1)
    for f in s.plain():
        opened = body.block(f.versions.test(within))
        emit_write(body, m, f, f.versions.clip(within))
        if opened:
            body('}')
    emit_write_tags(body, m, s, within)
    emit_flex(w, m, within, body)
    w.lines += body.lines
    w('}')
    w()


# ---- messages.c: description ----


def emit_desc(w, s):
    n = s.cname[3:]
    if s.fields:
        w('static const struct kp_field fields_%s[] = {' % n)
        for f in s.fields:
            kind = 'KP_STRUCT' if f.sub else (SCALARS.get(f.type) or SIZED[f.type])[1]
            parts = ['.name = "%s"' % f.name, '.type = ' + kind, '.min = %d' % f.versions.lo,
                     '.max = %d' % f.versions.hi, '.null_min = %d' % f.null.lo, '.null_max = %d' % f.null.hi,
                     '.tag = %d' % (-1 if f.tag is None else f.tag),
                     '.offset = offsetof(struct %s, %s)' % (s.cname, f.name)]
            if f.array:
                parts += ['.array = true'] + (['.maybe = true'] if f.maybe else []) + ['.count_offset = offsetof(struct %s, n_%s)' % (s.cname, f.name)]
            if f.sub:
                parts.append('.sub = &desc_' + f.sub.cname[3:])
            w('{' + ', '.join(parts) + '},')
        w('};')
    w('static void set_%s(void *x)' % n)
    w('{')
    w('kp_default_%s(x);' % n)
    w('}')
    w('static const struct kp_desc desc_%s = {' % n)
    w('.name = "%s",' % s.cname)
    w('.size = sizeof(struct %s),' % s.cname)
    if s.fields:
        w('.fields = fields_%s,' % n)
    w('.n_fields = %d,' % len(s.fields))
    w('.set_default = set_%s,' % n)
    w('};')
    w()


def emit_table_functions(w, m, side):
    n = '%s_%s' % (m.name, side)
    w('static int any_dec_%s(struct rd *r, int16_t version, void *out, struct arena *a)' % n)
    w('{')
    w('return kp_decode_%s(r, version, out, a);' % n)
    w('}')
    w('static void any_enc_%s(struct kwr *k, int16_t version, const void *in)' % n)
    w('{')
    w('kp_encode_%s(k, version, in);' % n)
    w('}')
    w()


def source(messages):
    w = Writer()
    w('/* Generated by dataplane/kafka/gen.py from dataplane/kafka/schema. */')
    w('#include "kafka/messages.h"')
    w()
    for m in messages:
        for side in ('request', 'response'):
            top = m.sides[side]
            for s in structs_of(top):
                within = Range(m.versions.lo, m.versions.hi).clip(versions_of(top, s, m.versions))
                emit_decode(w, m, s, within, side if s is top else None)
                emit_encode(w, m, s, within, side if s is top else None)
            for s in structs_of(top):
                emit_desc(w, s)
            emit_table_functions(w, m, side)
    w('const struct kp_message kp_messages[KP_MESSAGE_COUNT] = {')
    for m in messages:
        w('{')
        w('.key = %d,' % m.key)
        w('.name = "%s",' % m.name)
        w('.min = %d,' % m.versions.lo)
        w('.max = %d,' % m.versions.hi)
        w('.flexible = %d,' % m.flexible)
        for side in ('request', 'response'):
            n = '%s_%s' % (m.name, side)
            w('.%s = {&desc_%s, any_dec_%s, any_enc_%s},' % (side, n, n, n))
        w('},')
    w('};')
    return w.text()


def versions_of(top, s, versions):
    """Versions in which struct s is reached from top."""
    if s is top:
        return versions
    for f in top.fields:
        if f.sub:
            r = versions_of(f.sub, s, versions.clip(f.versions))
            if r:
                return r
    return None


def write(path, text):
    with open(path, 'w') as f:
        f.write(text)


def main():
    ap = argparse.ArgumentParser(description='generate the codecs of Kafka messages')
    ap.add_argument('--out', required=True, help='directory for messages.h and messages.c')
    ap.add_argument('schema', nargs='+')
    args = ap.parse_args()
    messages = sorted((parse(p) for p in args.schema), key=lambda m: m.key)
    keys = [m.key for m in messages]
    if len(set(keys)) != len(keys):
        sys.exit('two schemas have the same key')
    write(os.path.join(args.out, 'messages.h'), header(messages))
    write(os.path.join(args.out, 'messages.c'), source(messages))


if __name__ == '__main__':
    main()
