/* -T and --help-settings. */
#include "gate/loading.h"

void config_print(const struct config *config, void (*line)(void *data, struct span text),
                  void *data)
{
    const struct conf_section none = {.type = SPAN("server")};
    const struct conf_section *server = sections_of(config->conf.sections, "server");
    const struct setting *tables[SECTION_TABLES_MAX];

    if (!server)
        server = &none;
    section_tables(config->modules_all, server, tables);
    conf_print(&config->conf, server, NULL, tables, line, data);
    for (const struct conf_section *s = config->conf.sections; s; s = s->next) {
        if (s == server)
            continue;
        section_tables(config->modules_all, s, tables);
        line(data, SPAN(""));
        conf_print(&config->conf, s, server, tables, line, data);
    }
}

static void help_named(const char *before, const char *name, const char *after,
                       const struct setting *table, void (*line)(void *data, struct span text),
                       void *data)
{
    char head[128];
    size_t len = 0;
    const char *const parts[] = {before, name, after};

    for (size_t i = 0; i < COUNT_OF(parts); i++)
        for (const char *c = parts[i]; *c && len + 1 < sizeof head; c++)
            head[len++] = *c;
    head[len] = '\0';
    line(data, SPAN(""));
    setting_help(head, table, line, data);
}

void config_help(const struct module *const *modules, void (*line)(void *data, struct span text),
                 void *data)
{
    setting_help("[server]", server_settings, line, data);
    help_named("[listener ", "NAME", "]", listener_settings, line, data);
    help_named("[tls ", "NAME", "]", tls_settings, line, data);
    help_named("[upstream ", "NAME", "]", upstream_settings, line, data);
    help_named("[route ", "NAME", "]", route_settings, line, data);
    for (const struct module *const *m = modules; *m; m++)
        for (const struct handler *const *h = (*m)->handlers; h && *h; h++)
            if ((*h)->settings)
                help_named("[route NAME] with handler = ", (*h)->name, "", (*h)->settings, line,
                           data);
    for (const struct module *const *m = modules; *m; m++)
        if ((*m)->settings)
            help_named("[module ", (*m)->name, "]", (*m)->settings, line, data);
    help_named("[test ", "NAME", "]", test_settings, line, data);
}
