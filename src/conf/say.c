/* What conf_say() says, and where. */
#include "conf/conf.h"

#include <stdarg.h>
#include <stdio.h>

void conf_say(const struct conf_section *section, const char *key, enum severity severity,
              struct diagnostics *d, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    diagnostics_say(d, severity, conf_at(section, key), "%s", text);
}
