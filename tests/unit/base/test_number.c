#include "base/fail.h"
#include "base/number.h"
#include "base/random.h"

#include <check.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static int read_all(const char *text, double *value)
{
    struct span s = span_of(text);
    size_t used;
    int err = number_read(s, &used, value);

    return err ? err : used == s.len ? 0 : 1;
}

/* The C library's strtod() rounds correctly too, by other means. */
static void agrees_with_strtod(const char *text)
{
    double want = strtod(text, NULL), got;
    int err = read_all(text, &got);

    if (isinf(want)) {
        ck_assert_msg(err == FAIL_FULL, "%.80s… is infinite, got %d", text, err);
        return;
    }
    ck_assert_msg(err == 0, "%.80s refused", text);
    ck_assert_msg(bits_of(got) == bits_of(want), "%.80s: %.17g instead of %.17g", text, got, want);
}

START_TEST(known_hard_numbers_are_rounded_correctly)
{
    static const char *const hard[] = {
        "0",
        "-0",
        "1",
        "3.5",
        "-0.0",
        "0e999999999999999999999",
        "0.000e5",
        "123456789012345678",
        "9007199254740993",
        "9007199254740993.00000000000000000000000000000000000000000000000001",
        "9007199254740992.99999999999999999999999999999999999999999999999999999999999999999999",
        "1e22",
        "1e23",
        "9e22",
        "8.5e22",
        "1e-22",
        "1e-23",
        "1e27",
        "1e28",
        "1e-27",
        "1e-28",
        "18446744073709551615",
        "18446744073709551616",
        "9999999999999999999",
        "99999999999999999999",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.797693134862315807e308",
        "1.7976931348623159e308",
        "17976931348623157e292",
        "1e308",
        "1e309",
        "2e308",
        "1e310",
        "1e400",
        "123456789e301",
        "2.2250738585072014e-308",
        "2.2250738585072011e-308",
        "2.2250738585072012e-308",
        "2.225073858507201136057409796709131975934819546351645648e-308",
        "4.9e-324",
        "5e-324",
        "2.4703282292062328e-324",
        "2.4703282292062327e-324",
        "2.47032822920623272088284396434110686182529901307162382212792841250337753635104375932649"
        "918180817996189898282347722858865463328355177969898199387398005390939063150356595155702"
        "263922908583924491051844359318028499365361525003193704576782492193656236698636584807570"
        "015857692699037063119282795585513329278343384093519780155312465972635795746227664652728"
        "272200563740064854999770965994704540208281662262378573934507363390079677305775067501763"
        "246736009689513405355374585166611342237666786041621596804619144672918403005300575308490"
        "487653917113865916462395249126236538818796362393732804238910186723484976682350898633885"
        "879256283027559956575244555072551893136908362547791869486679949683240497058210285131854"
        "513962138377228261454376934125320985913276672363281249e-324",
        "1e-323",
        "1e-325",
        "1e-400",
        "1e-99999999999999999999999",
        "0.1",
        "0.2",
        "0.3",
        "100",
        "1E5",
        "1e+5",
        "1.5E-5",
        "0.0000000000000000000000000000000000000000000000000001e52",
        "5708990770823839207320493820740630171355185152001e-3",
        "6.631236846766476e-316",
        "8.988465674311579e307",
        "179769313486231580793728971405303415079934132710037826936173778980",
    };

    for (size_t i = 0; i < sizeof hard / sizeof *hard; i++)
        agrees_with_strtod(hard[i]);
}
END_TEST

/* A random number of digits with a point anywhere and an exponent, or a
 * double printed with too many or too few digits. */
static void random_text(struct random *r, char *text, size_t size)
{
    size_t n = 0, digits = 1 + random_below(r, random_below(r, 4) ? 25 : 900);
    size_t point = random_below(r, digits + 1);

    if (random_below(r, 3) == 0) {
        double x = double_of(random_next(r));
        snprintf(text, size, "%.*e", (int)random_below(r, 30), isfinite(x) ? x : 1.5);
        return;
    }
    if (random_below(r, 2))
        text[n++] = '-';
    if (point == 0)
        text[n++] = '0';
    for (size_t i = 0; i < digits; i++) {
        if (i == point)
            text[n++] = '.';
        char c = (char)('0' + random_below(r, 10));
        text[n++] = i == 0 && point > 1 && c == '0' ? '1' : c;
    }
    text[n] = 0;
    if (random_below(r, 2))
        snprintf(text + n, size - n, "e%d",
                 (int)random_below(r, 60) * (random_below(r, 2) ? 1 : -1) -
                     (random_below(r, 2) ? (int)digits / 2 : 0));
    else if (random_below(r, 2))
        snprintf(text + n, size - n, "E%d", (int)random_below(r, 700) - 350);
}

START_TEST(random_numbers_are_rounded_correctly)
{
    struct random r = {(uint64_t)_i};
    char text[1200];

    for (int i = 0; i < 20000; i++) {
        random_text(&r, text, sizeof text);
        agrees_with_strtod(text);
    }
}
END_TEST

/* Exactly half way between two doubles, and a breath beside it. */
START_TEST(halves_go_to_the_even_neighbour)
{
    struct random r = {(uint64_t)_i};

    for (int i = 0; i < 300; i++) {
        uint64_t bits = random_next(&r) >> 1;
        if (i % 3 == 0)
            bits = (bits & ((UINT64_C(1) << 52) - 1)) | (uint64_t)(1023 - 60 + i % 120) << 52;
        else if (i % 3 == 1)
            bits = bits >> (11 + random_below(&r, 40)); /* subnormals */
        if (bits >> 52 >= 0x7fe)
            continue;
        /* A half has one bit more than its neighbours, which long double holds. */
        long double half = ((long double)double_of(bits) + (long double)double_of(bits + 1)) / 2;
        char text[1300], longer[1400];
        snprintf(text, sizeof text, "%.1150Lf", half);
        agrees_with_strtod(text);
        snprintf(longer, sizeof longer, "%s1", text);
        agrees_with_strtod(longer);
        snprintf(text, sizeof text, "%.800Le", half);
        agrees_with_strtod(text);
    }
}
END_TEST

START_TEST(only_json_numbers_are_numbers)
{
    static const char *const bad[] = {
        "",    "-",   "+1",  ".5",       "01",  "-01", "00", "1.",    "1.e5", "1e",  "1e+", "1e-",
        "-.5", "inf", "nan", "Infinity", "-e5", "e5",  " 1", "0x10x", "1..2", "--1", "1.-5"};
    double value;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(read_all(bad[i], &value) != 0, "'%s' was read", bad[i]);
}
END_TEST

START_TEST(reading_stops_behind_the_number)
{
    size_t used;
    double value;

    ck_assert_int_eq(number_read(SPAN("12.5e1}"), &used, &value), 0);
    ck_assert_uint_eq(used, 6);
    ck_assert_double_eq(value, 125);
    ck_assert_int_eq(number_read(SPAN("0x10"), &used, &value), 0);
    ck_assert_uint_eq(used, 1);
    ck_assert_int_eq(number_read((struct span){"123", 2}, &used, &value), 0);
    ck_assert_double_eq(value, 12);
}
END_TEST

START_TEST(numbers_beyond_the_range_are_refused)
{
    double value;

    ck_assert_int_eq(read_all("1e999", &value), FAIL_FULL);
    ck_assert_int_eq(read_all("-1e999", &value), FAIL_FULL);
    ck_assert_int_eq(read_all("1e99999999999999999999999999", &value), FAIL_FULL);
    ck_assert_int_eq(read_all("1.7976931348623159e308", &value), FAIL_FULL);
    ck_assert_int_eq(read_all("1e-999", &value), 0);
    ck_assert_double_eq(value, 0);
}
END_TEST

static const char *printed(double value)
{
    static char text[NUMBER_TEXT_MAX + 1];

    text[number_print(value, text)] = 0;
    return text;
}

START_TEST(numbers_print_as_people_write_them)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "0"},
        {1, "1"},
        {-1, "-1"},
        {3.5, "3.5"},
        {500000000, "500000000"},
        {9007199254740991, "9007199254740991"},
        {9007199254740992, "9007199254740992"},
        {9007199254740994, "9007199254740994"},
        {-9007199254740991, "-9007199254740991"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1e20, "100000000000000000000"},
        {1e21, "1e+21"},
        {1.5e21, "1.5e+21"},
        {123456.789, "123456.789"},
        {1e-6, "0.000001"},
        {1e-7, "1e-7"},
        {1.25e-7, "1.25e-7"},
        {5e-324, "5e-324"},
        {1.5e-323, "1.5e-323"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {0x1p-44, "5.684341886080802e-14"},
        {9.5367431640625e-7, "9.5367431640625e-7"},
        {2.0 / 3, "0.6666666666666666"},
        {-1234.5, "-1234.5"},
        {0x1p53 + 2, "9007199254740994"},
        {100000000000000000.0, "100000000000000000"},
        {123e18, "123000000000000000000"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_str_eq(printed(cases[i].value), cases[i].text);
}
END_TEST

static int digits_of(const char *text)
{
    int n = 0, zeros = 0;

    for (; *text && *text != 'e'; text++)
        if (*text >= '0' && *text <= '9' && (n > 0 || *text != '0')) {
            n++;
            zeros = *text == '0' ? zeros + 1 : 0;
        }
    return n - zeros;
}

/* Whether any decimal with so many digits reads back as x: the nearest, or
 * the one beside it. */
static bool fits(double x, int digits)
{
    char text[64];

    snprintf(text, sizeof text, "%.*e", digits - 1, x);
    if (strtod(text, NULL) == x)
        return true;
    double ulp = pow(10, floor(log10(x)) - digits + 1);
    for (int side = -1; side <= 1; side += 2) {
        snprintf(text, sizeof text, "%.*e", digits - 1, x + side * ulp);
        if (strtod(text, NULL) == x)
            return true;
    }
    return false;
}

START_TEST(printed_numbers_read_back_and_none_shorter_does)
{
    struct random r = {(uint64_t)_i};

    for (int i = 0; i < 3000; i++) {
        uint64_t bits = random_next(&r) >> 1;
        if (i % 4 == 1)
            bits &= ~((UINT64_C(1) << 52) - 1); /* powers of two */
        else if (i % 4 == 2)
            bits = bits_of((double)random_below(&r, 1000000) / 1000);
        else if (i % 8 == 3)
            bits >>= 11 + random_below(&r, 52);
        double x = double_of(bits), back;
        if (!isfinite(x) || x == 0)
            continue;
        const char *text = printed(x);
        ck_assert_int_eq(read_all(text, &back), 0);
        ck_assert_msg(back == x, "%s is not %.17g", text, x);
        ck_assert(strtod(text, NULL) == x);
        ck_assert_uint_lt(strlen(text), NUMBER_TEXT_MAX);
        int n = digits_of(text);
        ck_assert_msg(n == 1 || !fits(x, n - 1), "%s can be shorter", text);
        strtod(printed(-x), NULL);
    }
}
END_TEST

START_TEST(locales_do_not_matter)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "ps_AF.UTF-8"};
    double value;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (setlocale(LC_ALL, names[i]))
            break;
    ck_assert_int_eq(read_all("3.25", &value), 0);
    ck_assert_double_eq(value, 3.25);
    ck_assert_str_eq(printed(1.1), "1.1");
    setlocale(LC_ALL, "C");
}
END_TEST

Suite *number_suite(void);
Suite *number_suite(void)
{
    Suite *s = suite_create("number");
    TCase *t = tcase_create("number");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, known_hard_numbers_are_rounded_correctly);
    tcase_add_loop_test(t, random_numbers_are_rounded_correctly, 0, 4);
    tcase_add_loop_test(t, halves_go_to_the_even_neighbour, 0, 4);
    tcase_add_test(t, only_json_numbers_are_numbers);
    tcase_add_test(t, reading_stops_behind_the_number);
    tcase_add_test(t, numbers_beyond_the_range_are_refused);
    tcase_add_test(t, numbers_print_as_people_write_them);
    tcase_add_loop_test(t, printed_numbers_read_back_and_none_shorter_does, 0, 4);
    tcase_add_test(t, locales_do_not_matter);
    suite_add_tcase(s, t);
    return s;
}
