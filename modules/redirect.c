/* redirect: sends every client somewhere else. */
#include "gate/module.h"

struct redirect_conf {
    struct template *to;
    int status;
};

static const char *const redirect_statuses[] = {"301", "302", "303", "307", "308", NULL};
static const int redirect_codes[] = {301, 302, 303, 307, 308};

static const struct setting redirect_settings[] = {
    {.name = "to",
     .type = SETTING_TEMPLATE,
     .flags = SETTING_REQUIRED,
     .offset = SETTING_MEMBER(struct redirect_conf, to, struct template *),
     .help = "Where to: the Location."},
    {.name = "status",
     .type = SETTING_WORD,
     .words = redirect_statuses,
     .fallback = "308",
     .offset = SETTING_MEMBER(struct redirect_conf, status, int),
     .help = "The status code."},
    {0},
};

static void redirect_answer(struct exchange *x)
{
    const struct redirect_conf *r = exchange_conf(x);

    respond_redirect(x, redirect_codes[r->status], template_text(r->to, x));
}

static const struct handler redirect_handler = {
    .name = "redirect",
    .summary = "send clients to another URL",
    .settings = redirect_settings,
    .conf_size = sizeof(struct redirect_conf),
    .answer = redirect_answer,
    .pure = true,
};

const struct module redirect_module = {
    .name = "redirect",
    .summary = "sends clients to other URLs",
    .handlers = (const struct handler *const[]){&redirect_handler, NULL},
};
