/* UTF-8 as RFC 3629 defines it; see utf8.h. */
#include "base/utf8.h"

size_t utf8_length(struct span s)
{
    static const struct {
        uint8_t first_from, first_to, second_from, second_to, len;
    } rows[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    uint8_t c = (uint8_t)s.ptr[0];

    for (size_t r = 0; r < COUNT_OF(rows); r++) {
        if (c < rows[r].first_from || c > rows[r].first_to)
            continue;
        if (s.len < rows[r].len)
            return 0;
        for (size_t i = 1; i < rows[r].len; i++) {
            uint8_t next = (uint8_t)s.ptr[i];
            uint8_t from = i == 1 ? rows[r].second_from : 0x80;
            uint8_t to = i == 1 ? rows[r].second_to : 0xbf;
            if (next < from || next > to)
                return 0;
        }
        return rows[r].len;
    }
    return 0;
}
