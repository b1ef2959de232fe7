#!/usr/bin/env python3
"""Writes events.txt: contents of POST /event with what they must be read as.

A line is `CONTENT EXPECT`, the content in hex (`-` when empty) and either
`refused` or `USERID-IN-HEX:DOUBLE-IN-16-HEX-DIGITS`.  Python's json decides,
made as strict as the RFC where it is not: no NaN or Infinity, no surrogates
without a partner, no double of the two keys, nesting up to 32.

    make.py [SEED [MUTATIONS [FILE]]]
"""
import json
import random
import struct
import sys

DEPTH_MAX = 32
USER_MAX = 256


class Refused(Exception):
    pass


class Pairs(list):
    pass


def constant(name):
    raise Refused(name)


def check(value, depth):
    """Depth and surrogates, everywhere."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise Refused("surrogate")
    elif isinstance(value, (Pairs, list)):
        if depth > DEPTH_MAX:
            raise Refused("deep")
        for item in value:
            if isinstance(value, Pairs):
                check(item[0], 0)
                item = item[1]
            check(item, depth + 1)


def expect(content):
    try:
        pairs = json.loads(content.decode("utf-8"), object_pairs_hook=Pairs,
                           parse_constant=constant, parse_int=float)
        if not isinstance(pairs, Pairs):
            raise Refused("no object")
        check(pairs, 0)
        users = [v for k, v in pairs if k == "userId"]
        values = [v for k, v in pairs if k == "value"]
        if len(users) != 1 or len(values) != 1:
            raise Refused("keys")
        user, value = users[0], values[0]
        if not isinstance(user, str) or not isinstance(value, float):
            raise Refused("type")
        user = user.encode("utf-8")
        if not 0 < len(user) <= USER_MAX or value in (float("inf"), float("-inf")):
            raise Refused("size")
        return user.hex() + ":" + struct.pack(">d", value).hex()
    except (Refused, ValueError, RecursionError):
        return "refused"


def nested(n, inner="1"):
    return '{"x":' + "[" * n + inner + "]" * n + ',"userId":"a","value":1}'


TEXTS = [
    '', ' ', '{', '}', '{}', '[]', 'null', '1', '"userId"', '{"userId":"a"}', '{"value":1}',
    '{"userId":"a","value":1}', '{"value":1,"userId":"a"}', '{"userId":"u1","value":3.5}',
    ' \t\r\n{ \t\r\n"userId" \t\r\n: \t\r\n"a" \t\r\n, \t\r\n"value" \t\r\n: \t\r\n1 \t\r\n} \t\r\n',
    '{"userId":"a","value":1} x', '{"userId":"a","value":1}{}', '{"userId":"a","value":1},',
    '{"userId":"a","value":1,}', '{,"userId":"a","value":1}', '{"userId":"a",,"value":1}',
    '{"userId":"a" "value":1}', '{"userId""a","value":1}', '{"userId":"a","value":1',
    '{"userId":"a","value":', '{"userId":"a","value"', '{"userId":"a","value', '{"userId":"a',
    '{"userId":"","value":1}', '{"userId":null,"value":1}', '{"userId":7,"value":1}',
    '{"userId":["a"],"value":1}', '{"userId":"a","value":"1"}', '{"userId":"a","value":null}',
    '{"userId":"a","value":true}', '{"userId":"a","value":[1]}', '{"userId":"a","value":{}}',
    '{"userId":"a","userId":"b","value":1}', '{"userId":"a","value":1,"value":1}',
    '{"userId":"a","\\u0075serId":"b","value":1}', '{"\\u0075ser\\u0049d":"a","v\\u0061lue":1}',
    '{"userid":"a","value":1}', '{"userId ":"a","value":1}', '{"userId\\u0000":"a","value":1}',
    '{"x":1,"x":2,"userId":"a","value":1}', '{"x":{"userId":1,"value":2},"userId":"a","value":1}',
    '{"userId":"a","value":1,"x":{"y":[1,2.5e3,"z",true,false,null,{}],"w":[]}}',
    '{"userId":"a","value":1,"x":[1,]}', '{"userId":"a","value":1,"x":[,1]}',
    '{"userId":"a","value":1,"x":{"y":}}', '{"userId":"a","value":1,"x":{"y"}}',
    '{"userId":"a","value":1,"x":{1:2}}', '{"userId":"a","value":1,"x":[1}}',
    '{"userId":"a","value":1,"x":tru}', '{"userId":"a","value":1,"x":nul}',
    '{"userId":"a","value":1,"x":True}', '{"userId":"a","value":1,"x":truefalse}',
    '{"userId":"a","value":1,"x":NaN}', '{"userId":"a","value":NaN}',
    '{"userId":"a","value":Infinity}', '{"userId":"a","value":-Infinity}',
    '{"userId":"a","value":1,"x":1e999}', '{"userId":"a","value":1e999}',
    '{"userId":"a","value":-1e999}', '{"userId":"a","value":1.7976931348623157e308}',
    '{"userId":"a","value":1.7976931348623159e308}', '{"userId":"a","value":1e-999}',
    '{"userId":"a","value":' + '9' * 309 + '}', '{"userId":"a","value":' + '9' * 300 + '}',
    '{"userId":"a","value":-0}', '{"userId":"a","value":-0.0e-0}', '{"userId":"a","value":01}',
    '{"userId":"a","value":+1}', '{"userId":"a","value":.5}', '{"userId":"a","value":5.}',
    '{"userId":"a","value":1e}', '{"userId":"a","value":1e+}', '{"userId":"a","value":-}',
    '{"userId":"a","value":0x10}', '{"userId":"a","value":1_000}', '{"userId":"a","value":1 2}',
    '{"userId":"a","value":0.1}', '{"userId":"a","value":1E3}', '{"userId":"a","value":1.5E-3}',
    '{"userId":"\\"\\\\\\/\\b\\f\\n\\r\\t","value":1}', '{"userId":"\\u0000","value":1}',
    '{"userId":"\\u00e9\\u20AC\\ud83d\\ude00","value":1}', '{"userId":"\\ud83d","value":1}',
    '{"userId":"\\ude00","value":1}', '{"userId":"\\ude00\\ud83d","value":1}',
    '{"userId":"\\ud83d\\ud83d\\ude00","value":1}', '{"userId":"\\ud83dx","value":1}',
    '{"userId":"\\ud83d\\n","value":1}', '{"userId":"\\ud83d\\u0041","value":1}',
    '{"userId":"\\uD800\\uDC00\\uDBFF\\uDFFF","value":1}', '{"userId":"\\u12","value":1}',
    '{"userId":"\\u12g4","value":1}', '{"userId":"\\x41","value":1}', '{"userId":"\\a","value":1}',
    '{"userId":"\\U0041","value":1}', '{"userId":"a\\","value":1}', '{"x":"\\ud800","userId":"a","value":1}',
    '{"\\ud800":1,"userId":"a","value":1}', '{"userId":"tab\there","value":1}',
    '{"userId":"line\nhere","value":1}', '{"userId":"nul\x00here","value":1}',
    '{"userId":"\x7f","value":1}', '{"userId":"\u00e9\u20ac\U0001f600\ud7ff\ue000\uffff\U0010ffff","value":1}',
    "{'userId':'a','value':1}", '{userId:"a",value:1}', '/**/{"userId":"a","value":1}',
    '\ufeff{"userId":"a","value":1}', '\u00a0{"userId":"a","value":1}', '{"userId":"a","value":1}\x00',
    '\x0c{"userId":"a","value":1}', '{"userId":"' + 'a' * 256 + '","value":1}',
    '{"userId":"' + 'a' * 257 + '","value":1}', '{"userId":"' + '\\u00e9' * 128 + '","value":1}',
    '{"userId":"' + '\\u00e9' * 129 + '","value":1}', '{"userId":"' + '\u20ac' * 86 + '","value":1}',
    '{"userId":"' + 'a' * 255 + '\\u00e9","value":1}', '{"' + 'k' * 3000 + '":0,"userId":"a","value":1}',
    '{"user\\u0049d_is_longer":0,"userId":"a","value":1}',
    nested(32), nested(33), nested(2000), nested(32, '{}'), nested(31, '{}'), nested(31, '{"y":2}'),
    '{"x":' + '{"x":' * 31 + '[]' + '}' * 31 + ',"userId":"a","value":1}',
    '{"x":' + '{"x":' * 32 + '[]' + '}' * 32 + ',"userId":"a","value":1}',
    '{"userId":"\\u007f\\u0080\\u07ff\\u0800\\ud7ff\\ue000\\uffff","value":1}',
] + ['{"userId":"%s%c%s","value":1}' % (before, c, after)
     for c in [*range(0x21), 0x22, 0x5c, 0x7f, 0x80]
     for before, after in (('', ''), ('1234567', '90123456'))]

BYTES = [b'{"userId":"%s","value":1}' % s for s in (
    b'\x80', b'\xbf', b'\xc0\x80', b'\xc1\xbf', b'\xc2\x80', b'\xc2', b'\xc2\x7f', b'\xc2\xc0',
    b'\xdf\xbf', b'\xe0\x80\x80', b'\xe0\x9f\xbf', b'\xe0\xa0\x80', b'\xe1\x80', b'\xe1\x80\x7f',
    b'\xe1\x80\xc0', b'\xed\x9f\xbf', b'\xed\xa0\x80', b'\xed\xbf\xbf', b'\xef\xbf\xbf',
    b'\xf0\x80\x80\x80', b'\xf0\x8f\xbf\xbf', b'\xf0\x90\x80\x80', b'\xf1\x80\x80',
    b'\xf4\x8f\xbf\xbf', b'\xf4\x90\x80\x80', b'\xf5\x80\x80\x80', b'\xf8\x88\x80\x80\x80',
    b'\xfe', b'\xff', b'a\xffb', b'12345678\xe2\x82\xac12345678', b'1234567\xe2\x82')] + [
    b'{"userId":"a","value":1,"x":"\xff"}', b'{"\xff":1,"userId":"a","value":1}',
    b'{"userId":"a","value":1}\xff', b'\xef\xbb\xbf{"userId":"a","value":1}', b'{"userId":"\xe2\x82']

PIECES = [b'"', b'\\', b'\\u', b'\\ud83d', b'\\ude00', b'{', b'}', b'[', b']', b',', b':', b' ', b'0',
          b'1', b'-', b'.', b'e', b'E9', b'\x00', b'\x1f', b'\x80', b'\xe2\x82\xac', b'true', b'null',
          b'"userId":', b'"value":', b'"x":', b'1e5', b'\\n', b'12345678']


def space(r):
    return r.choice(['', '', '', ' ', '\n\t', '\r'])


def string(r):
    def one():
        c = r.choice('aZ09 _-./é€😀\x7f"\\\n\x01')
        if c in '"\\\n\x01' or r.randrange(8) == 0:
            units = c.encode('utf-16-be')
            return ''.join('\\u%02x%02X' % tuple(units[i:i + 2]) for i in range(0, len(units), 2))
        return c
    return '"' + ''.join(one() for _ in range(r.randrange(1, 14))) + '"'


def number(r):
    return r.choice([str(r.randrange(-1000, 1000)), repr(r.uniform(-1e6, 1e6)), repr(r.random()),
                     '%de%d' % (r.randrange(10**6), r.randrange(-330, 320)),
                     '-0', '%.*f' % (r.randrange(1, 30), r.uniform(0, 1000))])


def anything(r, depth=0):
    kind = r.randrange(5 if depth > 3 else 7)
    if kind < 2:
        return string(r)
    if kind < 4:
        return number(r)
    if kind == 4:
        return r.choice(['true', 'false', 'null'])
    items = [anything(r, depth + 1) for _ in range(r.randrange(4))]
    if kind == 5:
        return '[' + space(r) + (space(r) + ',').join(items) + space(r) + ']'
    return '{' + ','.join(string(r) + space(r) + ':' + i + space(r) for i in items) + space(r) + '}'


def event(r):
    """A random one that is fine, or nearly always."""
    members = ['"userId"' + space(r) + ':' + space(r) + string(r),
               '"value"' + space(r) + ':' + space(r) + number(r)]
    members += [string(r) + space(r) + ':' + space(r) + anything(r)
                for _ in range(r.choice([0, 0, 1, 3]))]
    r.shuffle(members)
    text = space(r) + '{' + space(r) + (space(r) + ',' + space(r)).join(members) + space(r) + '}'
    return (text + space(r)).encode()


def mutated(r, seeds):
    c = bytearray(r.choice(seeds) if r.randrange(4) == 0 else event(r))
    for _ in range(r.choice([0, 1, 1, 2, 3])):
        kind, at = r.randrange(6), r.randrange(len(c) + 1)
        if kind == 0:
            del c[at:at + r.randrange(1, 4)]
        elif kind == 1:
            c[at:at] = r.choice(PIECES)
        elif kind == 2 and at < len(c):
            c[at] = r.randrange(256)
        elif kind == 3 and at < len(c):
            c[at] ^= 1 << r.randrange(8)
        elif kind == 4:
            c[at:at + 1] = r.choice(PIECES)
        else:
            other = r.choice(seeds)
            c[at:] = other[r.randrange(len(other) + 1):]
    return bytes(c)


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1009
    mutations = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
    seeds = [t.encode("utf-8", "surrogatepass") for t in TEXTS] + BYTES
    r = random.Random(seed)
    short = [s for s in seeds if len(s) < 200]
    cases = seeds + [mutated(r, short) for _ in range(mutations)]
    with open(sys.argv[3] if len(sys.argv) > 3 else "events.txt", "w") as out:
        for content in cases:
            out.write((content.hex() or "-") + " " + expect(content) + "\n")


main()
