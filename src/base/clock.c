/* Dates to and from text; see clock.h. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static const char DAYS[] = "SunMonTueWedThuFriSat";
static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static void put2(char *at, int n)
{
    at[0] = (char)('0' + n / 10 % 10);
    at[1] = (char)('0' + n % 10);
}

static void put4(char *at, int n)
{
    put2(at, n / 100);
    put2(at + 2, n % 100);
}

void clock_http(char out[CLOCK_HTTP_LEN], int64_t unix_s)
{
    struct tm tm = {0};
    time_t t = (time_t)unix_s;

    gmtime_r(&t, &tm);
    memcpy(out, "Xxx, 00 Xxx 0000 00:00:00 GMT", CLOCK_HTTP_LEN);
    memcpy(out, DAYS + 3 * tm.tm_wday, 3);
    put2(out + 5, tm.tm_mday);
    memcpy(out + 8, MONTHS + 3 * tm.tm_mon, 3);
    put4(out + 12, tm.tm_year + 1900);
    put2(out + 17, tm.tm_hour);
    put2(out + 20, tm.tm_min);
    put2(out + 23, tm.tm_sec);
}

void clock_iso(char out[CLOCK_ISO_LEN], uint64_t unix_ns)
{
    struct tm tm = {0};
    time_t t = (time_t)(unix_ns / NS_PER_S);
    int ms = (int)(unix_ns % NS_PER_S / NS_PER_MS);

    gmtime_r(&t, &tm);
    memcpy(out, "0000-00-00T00:00:00.000Z", CLOCK_ISO_LEN);
    put4(out, tm.tm_year + 1900);
    put2(out + 5, tm.tm_mon + 1);
    put2(out + 8, tm.tm_mday);
    put2(out + 11, tm.tm_hour);
    put2(out + 14, tm.tm_min);
    put2(out + 17, tm.tm_sec);
    out[20] = (char)('0' + ms / 100);
    put2(out + 21, ms % 100);
}

void clock_clf(char out[CLOCK_CLF_LEN], int64_t unix_s)
{
    struct tm tm = {0};
    time_t t = (time_t)unix_s;

    gmtime_r(&t, &tm);
    memcpy(out, "00/Xxx/0000:00:00:00 +0000", CLOCK_CLF_LEN);
    put2(out, tm.tm_mday);
    memcpy(out + 3, MONTHS + 3 * tm.tm_mon, 3);
    put4(out + 7, tm.tm_year + 1900);
    put2(out + 12, tm.tm_hour);
    put2(out + 15, tm.tm_min);
    put2(out + 18, tm.tm_sec);
}

static int find3(const char *table, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (memcmp(table + 3 * i, name, 3) == 0)
            return i;
    return -1;
}

/* Days since 1970 of a Gregorian date (Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned)(y - era * 400);
    unsigned doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + (int64_t)doe - 719468;
}

bool clock_parse_http(struct span text, int64_t *unix_s)
{
    char copy[40], month[4] = "", tail[4] = "";
    int day, year, h, m, s, used = 0;

    if (text.len >= sizeof copy)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    const char *comma = strchr(copy, ',');
    if (comma && comma - copy == 3) { /* IMF-fixdate */
        if (sscanf(comma, ", %2d %3[A-Za-z] %4d %2d:%2d:%2d %3s%n", &day, month, &year, &h, &m, &s,
                   tail, &used) != 7 ||
            (size_t)used != text.len - 3 || strcmp(tail, "GMT") != 0)
            return false;
    } else if (comma) { /* RFC 850: two digits of the year */
        if (sscanf(comma, ", %2d-%3[A-Za-z]-%2d %2d:%2d:%2d %3s%n", &day, month, &year, &h, &m, &s,
                   tail, &used) != 7 ||
            (size_t)used != text.len - (size_t)(comma - copy) || strcmp(tail, "GMT") != 0)
            return false;
        year += year < 70 ? 2000 : 1900;
    } else if (sscanf(copy, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", month, &day, &h, &m, &s,
                      &year, &used) != 6 ||
               (size_t)used != text.len) { /* asctime */
        return false;
    }
    int mon = strlen(month) == 3 ? find3(MONTHS, 12, month) : -1;
    if (mon < 0 || day < 1 || day > 31 || h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 60 ||
        year < 0)
        return false;
    *unix_s = days_from_civil(year, (unsigned)mon + 1, (unsigned)day) * 86400 + h * 3600 + m * 60 + s;
    return true;
}
