/* Splits values into words and puts them together again; see word.h.
 *
 * What the environment put in is literal: a quote, backslash or comment sign
 * there is a byte like any other.
 */
#include "conf/word.h"

#include "conf/text.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Whether the byte at `at` is c as somebody wrote it. */
static bool is_written(const struct scan *s, size_t at, char c)
{
    const struct conf_value *v = s->value;

    return at < v->text.len && v->text.ptr[at] == c && !piece_fixed(v->pieces, v->piece_count, at);
}

static enum scanned bad(const struct scan *s, size_t at, const char *why)
{
    if (s->d)
        diagnostics_say(s->d, SEVERITY_ERROR, conf_value_at(s->value, at), "%s: %s", s->key, why);
    return SCAN_BAD;
}

static enum scanned no_memory(const struct scan *s)
{
    if (s->d)
        diagnostics_memory(s->d);
    return SCAN_BAD;
}

static bool is_comment_sign(const struct scan *s, size_t at)
{
    return is_written(s, at, '#') || is_written(s, at, ';');
}

static enum scanned comment(const struct scan *s, size_t at)
{
    return bad(s, at,
               "no comment after a value: put the comment on its own line, or quote the value");
}

/* Decodes what stands between quotes, or until `end`. */
struct decoding {
    const struct scan *s;
    size_t at, end; /* end: of unquoted text; the value's when quoted */
    bool quoted, template;
    char *out;
    size_t len;
    enum scanned problem;
};

static char escaped(char c)
{
    switch (c) {
    case '"':
    case '\\':
        return c;
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return '\0';
    }
}

/* A request variable in a value that has none. */
static bool is_variable(struct span s)
{
    size_t end = span_find(s, '}');

    if (s.len < 4 || end == s.len || s.ptr[2] < 'a' || s.ptr[2] > 'z')
        return false;
    for (size_t i = 2; i < end && s.ptr[i] != ':'; i++) {
        char c = ascii_lower(s.ptr[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '.' && c != '-')
            return false;
    }
    return true;
}

static void decode_dollar(struct decoding *de)
{
    struct span rest = span_after(de->s->value->text, de->at);

    if (!de->template && span_starts(rest, SPAN("$${"))) {
        de->out[de->len++] = '$';
        de->out[de->len++] = '{';
        de->at += 3;
        return;
    }
    if (de->template && span_starts(rest, SPAN("$${"))) {
        memcpy(de->out + de->len, "$${", 3);
        de->len += 3;
        de->at += 3;
        return;
    }
    if (!de->template && span_starts(rest, SPAN("${")) && is_variable(rest)) {
        de->problem =
            bad(de->s, de->at, "a request variable stands only in a template; a literal ${ is $${");
        return;
    }
    de->out[de->len++] = '$';
    de->at++;
}

static void decode_escape(struct decoding *de)
{
    struct span text = de->s->value->text;
    char c = de->at + 1 < text.len ? escaped(text.ptr[de->at + 1]) : '\0';

    if (c == '\0') {
        de->problem = bad(de->s, de->at, "in quotes a backslash is \\\" \\\\ \\n \\r or \\t");
        return;
    }
    de->out[de->len++] = c;
    de->at += 2;
}

/* Leaves `at` behind the closing quote, or at `end`. */
static void decode(struct decoding *de)
{
    struct span text = de->s->value->text;
    size_t start = de->at;

    if (de->quoted)
        de->at++;
    while (de->at < de->end && de->problem == SCAN_END) {
        if (de->quoted && is_written(de->s, de->at, '"')) {
            de->at++;
            return;
        }
        if (de->quoted && is_written(de->s, de->at, '\\'))
            decode_escape(de);
        else if (text.ptr[de->at] == '$')
            decode_dollar(de);
        else
            de->out[de->len++] = text.ptr[de->at++];
    }
    if (de->quoted && de->problem == SCAN_END)
        de->problem = bad(de->s, start, "the quote is not closed");
}

static enum scanned decode_word(struct scan *s, struct word *w, size_t end, bool template)
{
    struct decoding de = {
        .s = s, .at = s->at, .end = end, .quoted = is_written(s, s->at, '"'), .template = template};

    *w = (struct word){.offset = s->at, .quoted = de.quoted};
    if (de.quoted)
        de.end = s->value->text.len;
    if (!(de.out = arena_alloc(s->arena, de.end - de.at)))
        return no_memory(s);
    decode(&de);
    if (de.problem != SCAN_END)
        return de.problem;
    s->at = de.at;
    w->text = (struct span){de.out, de.len};
    return SCAN_WORD;
}

static void skip_blanks(struct scan *s)
{
    while (s->at < s->value->text.len && is_blank(s->value->text.ptr[s->at]))
        s->at++;
}

static bool ends_word(const struct scan *s, size_t at)
{
    char c = s->value->text.ptr[at];

    return is_blank(c) || (s->commas && c == ',');
}

enum scanned scan_next(struct scan *s, struct word *w)
{
    struct span text = s->value->text;
    size_t before = s->at;

    skip_blanks(s);
    if (s->at == text.len)
        return SCAN_END;
    if ((s->at > before || s->at == 0) && is_comment_sign(s, s->at))
        return comment(s, s->at);
    if (s->commas && text.ptr[s->at] == ',') {
        *w = (struct word){.offset = s->at++};
        return SCAN_COMMA;
    }
    size_t end = s->at;
    while (end < text.len && !ends_word(s, end))
        end++;
    enum scanned answer = decode_word(s, w, end, false);
    if (answer == SCAN_WORD && w->quoted && s->at < text.len && !ends_word(s, s->at))
        return bad(s, s->at, "a quoted word ends in the middle of a word");
    return answer;
}

enum scanned scan_rest(struct scan *s, struct word *w, bool template)
{
    struct span text = s->value->text;

    skip_blanks(s);
    if (s->at == text.len)
        return SCAN_END;
    if (is_comment_sign(s, s->at))
        return comment(s, s->at);
    size_t end = text.len;
    while (end > s->at && is_blank(text.ptr[end - 1]))
        end--;
    if (!is_written(s, s->at, '"'))
        for (size_t i = s->at + 1; i < end; i++)
            if (is_blank(text.ptr[i - 1]) && is_comment_sign(s, i))
                return comment(s, i);
    enum scanned answer = decode_word(s, w, end, template);
    if (answer == SCAN_WORD && w->quoted && s->at < end) {
        skip_blanks(s);
        if (is_comment_sign(s, s->at))
            return comment(s, s->at);
        return bad(s, s->at, "something stands after the closing quote");
    }
    return answer;
}

/* --- and back -------------------------------------------------------------- */

static bool needs_quotes(struct span s, bool blanks, bool commas)
{
    if (s.len == 0 || s.ptr[0] == '"' || s.ptr[0] == '#' || s.ptr[0] == ';')
        return true;
    if (s.ptr[s.len - 1] == '\\' || is_blank(s.ptr[0]) || is_blank(s.ptr[s.len - 1]))
        return true;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\n' || c == '\r' || c == '\t' || (c == ',' && commas) || (c == ' ' && blanks))
            return true;
        if (i > 0 && (c == '#' || c == ';') && is_blank(s.ptr[i - 1]))
            return true;
    }
    return false;
}

static size_t print_byte(char *out, char c, bool quoted)
{
    char letter = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : c;

    if (!quoted || (letter == c && c != '"' && c != '\\')) {
        out[0] = c;
        return 1;
    }
    out[0] = '\\';
    out[1] = letter;
    return 2;
}

static struct span print(struct arena *arena, struct span s, bool quoted, bool template)
{
    char *out = arena_alloc(arena, 2 * s.len + 2);
    size_t len = 0;

    if (!out)
        return (struct span){0};
    if (quoted)
        out[len++] = '"';
    for (size_t i = 0; i < s.len; i++) {
        if (!template && span_starts(span_after(s, i), SPAN("${")))
            out[len++] = '$';
        len += print_byte(out + len, s.ptr[i], quoted);
    }
    if (quoted)
        out[len++] = '"';
    return (struct span){out, len};
}

struct span word_print(struct arena *arena, const struct word *w, bool commas)
{
    return print(arena, w->text, w->quoted || needs_quotes(w->text, true, commas), false);
}

struct span rest_print(struct arena *arena, const struct word *w, bool template)
{
    return print(arena, w->text, w->quoted || needs_quotes(w->text, false, false), template);
}
