/* Field lines to fields, and where a target ends.
 *
 * A line is a name of token characters, a colon, and a value up to the first
 * control that is no HTAB, which must be the CR of CRLF (RFC 9112, 2.2 and 5).  So
 * two questions are asked of the bytes: where does the token end, and where
 * is the next control?  Bare CR, bare LF, NUL, whitespace before the colon
 * and obs-fold all fail one of them; nothing looks for them in particular.
 * A target too is two questions: where is '?' or '%', and where does it end?
 *
 * With vectors both questions are answered for a block of bytes at once, as
 * two masks with a bit for each byte.  Nothing outside the head is read: near its end
 * a block is taken from the end backwards, and the bits of bytes before shifted out.
 */
#include "http/h1_scan.h"

#include "http/chars.h"
#include "http/field_slots.h"
#include "http/h1_parse.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Answers to the two questions; the end of the bytes is "nowhere". */
struct marks {
    const char *mark, *stop;
};

typedef struct marks find_fn(const char *begin, const char *at, const char *end);

/* How many bytes make a name, no label of it empty; 0 when that cannot be said. */
typedef size_t host_fn(const char *begin, struct span host, const char *end);

static ALWAYS_INLINE struct marks line_scalar(const char *begin, const char *at, const char *end)
{
    (void)begin;
    while (at < end && char_is(*at, CHAR_TOKEN))
        at++;
    const char *mark = at;
    while (end - at >= 8 && !char_controls8(at))
        at += 8;
    while (at < end && char_is(*at, CHAR_VALUE))
        at++;
    return (struct marks){mark, at};
}

static ALWAYS_INLINE struct marks target_scalar(const char *begin, const char *at, const char *end)
{
    (void)begin;
    while (at < end && char_is(*at, CHAR_TARGET) && *at != '?' && *at != '%')
        at++;
    const char *mark = at;
    while (at < end && char_is(*at, CHAR_TARGET))
        at++;
    return (struct marks){mark, at};
}

/* A line that begins with no token character: the empty one, or none. */
static ALWAYS_INLINE enum h1_lines_end last_line(const char **at, const char *end)
{
    if (end - *at < 2)
        return *at == end || **at == '\r' ? LINES_MORE : LINES_BAD;
    if ((*at)[0] != '\r' || (*at)[1] != '\n')
        return LINES_BAD;
    *at += 2;
    return LINES_END;
}

/* Of a byte of a value: no other up to SP stands there. */
static ALWAYS_INLINE bool is_blank(char c)
{
    return (uint8_t)c <= ' ';
}

/* What is between, without blanks at either end; usually there is one at the
 * beginning and no more. */
static ALWAYS_INLINE struct span value_of(const char *at, const char *end)
{
    at += *at == ' '; /* at the end there is a CR */
    while (at < end && is_blank(*at))
        at++;
    while (end > at && is_blank(end[-1]))
        end--;
    return (struct span){at, (size_t)(end - at)};
}

/* Why it is none, or not yet. */
static enum h1_lines_end no_line(const char *at, const char *end, struct marks m, bool full)
{
    if (m.mark == at)
        return LINES_BAD;
    if (full)
        return LINES_FULL;
    if (m.mark == end)
        return LINES_MORE;
    if (*m.mark != ':' || (m.stop < end && *m.stop != '\r'))
        return LINES_BAD;
    return end - m.stop < 2 ? LINES_MORE : LINES_BAD;
}

/* Everything the loop changes is in variables of its own: the compiler
 * cannot know that writing a field changes none of it. */
static ALWAYS_INLINE enum h1_lines_end lines(struct h1_lines *l, find_fn *find, host_fn *host)
{
    const char *at = l->at, *const end = l->end, *const begin = l->begin;
    struct fields *f = l->fields;
    struct field *out = f->list + f->count, *const full = f->list + l->fields_max;
    uint64_t seen = f->seen, twice = l->twice;
    enum h1_lines_end answer;

    for (;;) {
        if (at == end || *at == '\r') {
            answer = last_line(&at, end);
            break;
        }
        struct marks m = find(begin, at, end);
        if (end - m.stop < 2 || memcmp(m.stop, "\r\n", 2) != 0 || *m.mark != ':' || m.mark == at ||
            out >= full) {
            answer = no_line(at, end, m, out >= full);
            break;
        }
        out->name = (struct span){at, (size_t)(m.mark - at)};
        out->value = value_of(m.mark + 1, m.stop);
        enum field_id id = field_look_up(out->name);
        out->id = (uint16_t)id;
        out->checked = true;
        twice |= seen & (uint64_t)1 << id;
        seen |= (uint64_t)1 << id;
        if (id == FIELD_HOST)
            l->host_name_len = (uint32_t)host(begin, out->value, end);
        out++;
        at = m.stop + 2;
    }
    l->at = at;
    l->twice = twice;
    f->seen = seen;
    f->count = (uint32_t)(out - f->list);
    return answer;
}

/* There is host_is_valid() for that. */
static ALWAYS_INLINE size_t host_scalar(const char *begin, struct span host, const char *end)
{
    (void)begin;
    (void)host;
    (void)end;
    return 0;
}

static enum h1_lines_end lines_scalar(struct h1_lines *l)
{
    return lines(l, line_scalar, host_scalar);
}

static struct h1_target_marks marks_scalar(const char *begin, const char *at, const char *end)
{
    struct marks m = target_scalar(begin, at, end);

    return (struct h1_target_marks){m.mark, m.stop};
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

/* A bit for each byte of a block, the first byte's lowest. */
struct masks {
    uint64_t mark, stop;
};

/* Looks at half a block. */
typedef struct masks half_fn(const char *at);

/* The masks of the block at `at`, or of the bytes there are: at least half a
 * block lies between begin and end. */
static ALWAYS_INLINE struct masks look(const char *begin, const char *at, const char *end,
                                       half_fn *half_at, size_t half)
{
    size_t rest = (size_t)(end - at), second = half;

    (void)begin; /* it is what makes the last load one of our own bytes */
    if (rest < half) {
        struct masks m = half_at(end - half);
        return (struct masks){m.mark >> (half - rest), m.stop >> (half - rest)};
    }
    if (rest < 2 * half)
        second = rest - half;
    struct masks a = half_at(at), b = half_at(at + second);
    return (struct masks){a.mark | b.mark << second, a.stop | b.stop << second};
}

static ALWAYS_INLINE struct marks find_in_blocks(const char *begin, const char *at, const char *end,
                                                 half_fn *half_at, size_t half)
{
    struct marks found = {end, end};
    struct masks m;

    if ((size_t)(end - at) >= 2 * half) { /* nearly always: no shift has to be found out */
        struct masks a = half_at(at), b = half_at(at + half);
        m = (struct masks){a.mark | b.mark << half, a.stop | b.stop << half};
    } else {
        m = look(begin, at, end, half_at, half);
    }
    while (!m.mark && !m.stop && (size_t)(end - at) > 2 * half) {
        at += 2 * half;
        m = look(begin, at, end, half_at, half);
    }
    if (m.mark)
        found.mark = at + __builtin_ctzll(m.mark);
    while (!m.stop && (size_t)(end - at) > 2 * half) {
        at += 2 * half;
        m.stop = look(begin, at, end, half_at, half).stop;
    }
    if (m.stop)
        found.stop = at + __builtin_ctzll(m.stop);
    return found;
}

/* The same for what is mostly short: half a block is looked at first. */
static ALWAYS_INLINE struct marks find_near(const char *begin, const char *at, const char *end,
                                            half_fn *half_at, size_t half)
{
    if ((size_t)(end - at) >= half) {
        struct masks m = half_at(at);
        if (m.stop)
            return (struct marks){m.mark ? at + __builtin_ctzll(m.mark) : end,
                                  at + __builtin_ctzll(m.stop)};
    }
    return find_in_blocks(begin, at, end, half_at, half);
}

/* Membership in a set of ASCII characters by two table look-ups: a row for the
 * low four bits, a bit in it for the high ones.  A byte from 0x80 on finds 0 in
 * the first, as the instruction has it. */
#define TOKEN_ROWS                                                                                 \
    (char)0xe8, (char)0xfc, (char)0xf8, (char)0xfc, (char)0xfc, (char)0xfc, (char)0xfc,            \
        (char)0xfc, (char)0xf8, (char)0xf8, (char)0xf4, (char)0x54, (char)0xd0, (char)0x54,        \
        (char)0xf4, (char)0x70
#define TARGET_ROWS                                                                                \
    (char)0xf8, (char)0xfc, (char)0xfc, (char)0xf8, (char)0xfc, (char)0xfc, (char)0xfc,            \
        (char)0xfc, (char)0xfc, (char)0xfc, (char)0xfc, (char)0xfc, (char)0xfc, (char)0xfc,        \
        (char)0xfc, (char)0x7c
#define HOST_ROWS                                                                                  \
    (char)0xa8, (char)0xf8, (char)0xf8, (char)0xf8, (char)0xf8, (char)0xf8, (char)0xf8,            \
        (char)0xf8, (char)0xf8, (char)0xf8, (char)0xf0, (char)0x50, (char)0x50, (char)0x54,        \
        (char)0xd4, (char)0x70
#define CONTROL_ROWS                                                                               \
    (char)0x03, (char)0x03, (char)0x03, (char)0x03, (char)0x03, (char)0x03, (char)0x03,            \
        (char)0x03, (char)0x03, (char)0x02, (char)0x03, (char)0x03, (char)0x03, (char)0x03,        \
        (char)0x03, (char)0x83
#define HIGH_BITS 1, 2, 4, 8, 16, 32, 64, (char)128, 0, 0, 0, 0, 0, 0, 0, 0

/* A name in at most a block; see host_fn. */
static ALWAYS_INLINE size_t name_len(const char *begin, struct span s, const char *end,
                                     half_fn *half_at, size_t half)
{
    struct masks m;

    if (s.len >= 2 * half)
        return 0;
    if (s.len < half && (size_t)(end - s.ptr) >= half)
        m = half_at(s.ptr); /* nearly always */
    else
        m = look(begin, s.ptr, end, half_at, half);
    uint64_t after = (uint64_t)1 << s.len, stop = m.stop | after;
    uint64_t dots = m.mark & ((stop & -stop) - 1);

    return dots & (dots << 1 | 1) ? 0 : (size_t)__builtin_ctzll(stop);
}

#define SSE42 __attribute__((target("sse4.2")))

static SSE42 ALWAYS_INLINE __m128i load16(const char *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

static SSE42 ALWAYS_INLINE __m128i high_bit16(__m128i bytes)
{
    __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));

    return _mm_shuffle_epi8(_mm_setr_epi8(HIGH_BITS), high);
}

static SSE42 ALWAYS_INLINE uint64_t outside16(__m128i bytes, __m128i bit, __m128i rows)
{
    __m128i in = _mm_and_si128(_mm_shuffle_epi8(rows, bytes), bit);

    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(in, _mm_setzero_si128()));
}

static SSE42 ALWAYS_INLINE struct masks line16(const char *at)
{
    __m128i bytes = load16(at), bit = high_bit16(bytes);
    uint64_t not_control = outside16(bytes, bit, _mm_setr_epi8(CONTROL_ROWS));

    return (struct masks){outside16(bytes, bit, _mm_setr_epi8(TOKEN_ROWS)), not_control ^ 0xffff};
}

static SSE42 ALWAYS_INLINE struct masks target16(const char *at)
{
    __m128i bytes = load16(at), bit = high_bit16(bytes);
    __m128i mark = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('?')),
                                _mm_cmpeq_epi8(bytes, _mm_set1_epi8('%')));

    return (struct masks){(uint32_t)_mm_movemask_epi8(mark),
                          outside16(bytes, bit, _mm_setr_epi8(TARGET_ROWS))};
}

static SSE42 ALWAYS_INLINE struct masks host16(const char *at)
{
    __m128i bytes = load16(at), bit = high_bit16(bytes);
    __m128i dot = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('.'));

    return (struct masks){(uint32_t)_mm_movemask_epi8(dot),
                          outside16(bytes, bit, _mm_setr_epi8(HOST_ROWS))};
}

static SSE42 ALWAYS_INLINE struct marks line_sse42(const char *begin, const char *at,
                                                   const char *end)
{
    return find_in_blocks(begin, at, end, line16, 16);
}

static SSE42 ALWAYS_INLINE size_t host_sse42(const char *begin, struct span host, const char *end)
{
    return name_len(begin, host, end, host16, 16);
}

static SSE42 enum h1_lines_end lines_sse42(struct h1_lines *l)
{
    return l->end - l->begin < 16 ? lines_scalar(l) : lines(l, line_sse42, host_sse42);
}

static SSE42 struct h1_target_marks marks_sse42(const char *begin, const char *at, const char *end)
{
    if (end - begin < 16)
        return marks_scalar(begin, at, end);
    struct marks m = find_near(begin, at, end, target16, 16);
    return (struct h1_target_marks){m.mark, m.stop};
}

#define AVX2 __attribute__((target("avx2,bmi,bmi2")))

static AVX2 ALWAYS_INLINE __m256i load32(const char *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static AVX2 ALWAYS_INLINE __m256i high_bit32(__m256i bytes)
{
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));

    return _mm256_shuffle_epi8(_mm256_setr_epi8(HIGH_BITS, HIGH_BITS), high);
}

static AVX2 ALWAYS_INLINE uint64_t outside32(__m256i bytes, __m256i bit, __m256i rows)
{
    __m256i in = _mm256_and_si256(_mm256_shuffle_epi8(rows, bytes), bit);

    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(in, _mm256_setzero_si256()));
}

static AVX2 ALWAYS_INLINE struct masks line32(const char *at)
{
    __m256i bytes = load32(at), bit = high_bit32(bytes);
    uint64_t not_control = outside32(bytes, bit, _mm256_setr_epi8(CONTROL_ROWS, CONTROL_ROWS));

    return (struct masks){outside32(bytes, bit, _mm256_setr_epi8(TOKEN_ROWS, TOKEN_ROWS)),
                          not_control ^ 0xffffffff};
}

static AVX2 ALWAYS_INLINE struct masks target32(const char *at)
{
    __m256i bytes = load32(at), bit = high_bit32(bytes);
    __m256i mark = _mm256_or_si256(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('?')),
                                   _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('%')));

    return (struct masks){(uint32_t)_mm256_movemask_epi8(mark),
                          outside32(bytes, bit, _mm256_setr_epi8(TARGET_ROWS, TARGET_ROWS))};
}

static AVX2 ALWAYS_INLINE struct masks host32(const char *at)
{
    __m256i bytes = load32(at), bit = high_bit32(bytes);
    __m256i dot = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('.'));

    return (struct masks){(uint32_t)_mm256_movemask_epi8(dot),
                          outside32(bytes, bit, _mm256_setr_epi8(HOST_ROWS, HOST_ROWS))};
}

static AVX2 ALWAYS_INLINE struct marks line_avx2(const char *begin, const char *at, const char *end)
{
    return find_near(begin, at, end, line32, 32);
}

static AVX2 ALWAYS_INLINE size_t host_avx2(const char *begin, struct span host, const char *end)
{
    return name_len(begin, host, end, host32, 32);
}

static AVX2 enum h1_lines_end lines_avx2(struct h1_lines *l)
{
    return l->end - l->begin < 32 ? lines_scalar(l) : lines(l, line_avx2, host_avx2);
}

static AVX2 struct h1_target_marks marks_avx2(const char *begin, const char *at, const char *end)
{
    if (end - begin < 32)
        return marks_scalar(begin, at, end);
    struct marks m = find_near(begin, at, end, target32, 32);
    return (struct h1_target_marks){m.mark, m.stop};
}

static bool has_sse42(void)
{
    return __builtin_cpu_supports("sse4.2");
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
}

#define VECTOR_SCANNERS                                                                            \
    {{SPAN_INIT("avx2"), lines_avx2, marks_avx2}, has_avx2},                                       \
        {{SPAN_INIT("sse4.2"), lines_sse42, marks_sse42}, has_sse42},
#else
#define VECTOR_SCANNERS
#endif

static bool always(void)
{
    return true;
}

/* The best first. */
static const struct {
    struct h1_scanner scanner;
    bool (*available)(void);
} scanners[] = {VECTOR_SCANNERS{{SPAN_INIT("scalar"), lines_scalar, marks_scalar}, always}};

/* Written once, at the first head or when a test asks for another: every
 * thread would write the same. */
_Atomic(const struct h1_scanner *) h1_scanner_chosen;

const struct h1_scanner *h1_scanner_choose(void)
{
    size_t i = 0;

    while (!scanners[i].available())
        i++;
    atomic_store_explicit(&h1_scanner_chosen, &scanners[i].scanner, memory_order_relaxed);
    return &scanners[i].scanner;
}

bool h1_scanner_use(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(scanners); i++)
        if (span_equal(scanners[i].scanner.name, name) && scanners[i].available()) {
            atomic_store_explicit(&h1_scanner_chosen, &scanners[i].scanner, memory_order_relaxed);
            return true;
        }
    return false;
}

const char *h1_scanner_name(void)
{
    return h1_scanner()->name.ptr;
}
