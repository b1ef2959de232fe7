/* The control socket; see control.h. */
#include "control.h"

#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/descriptor.h"
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 128 };
#define SAY_NS    (5 * NS_PER_S)  /* for a client to say its line */
#define TAKE_NS   (10 * NS_PER_S) /* to take its answer */
#define LINGER_NS NS_PER_S        /* to close, once it has it */
#define DEAF_NS   NS_PER_S        /* when there is no descriptor */
/* Who takes nothing of its answer for so long may give way to another; and how soon it is looked
 * who does. */
#define UNREAD_NS (200 * NS_PER_MS)
#define FULL_NS   (50 * NS_PER_MS)

enum client_state {
    CLIENT_NONE,
    CLIENT_SAYING,
    CLIENT_WAITING, /* for what it asked to be done */
    CLIENT_TAKING,
    CLIENT_ENDING, /* what it still says is not read, but must not cost it its answer */
};

struct client {
    enum client_state state;
    int fd;
    char line[CONTROL_LINE_MAX + 1];
    size_t len;
    struct command command;
    char *answer;
    size_t answer_len, sent;
    uint64_t since, due; /* it came, or took a piece of its answer; it is given up */
};

struct control {
    int fd;
    char path[CONTROL_PATH_MAX + 1];
    struct descriptor_mark file;
    const struct io_backend *backend;
    const struct command_means *means;
    struct client clients[CONTROL_CLIENTS_MAX];
    unsigned polled[CONTROL_POLLS_MAX]; /* whose each pollfd is; of the first: how many there are */
    uint64_t deaf_until;                /* there was no room for another; 0: all is well */
};

/* --- coming and going ------------------------------------------------------------------------ */

/* The file that we have just made, and nothing that was put in its place since. */
static int made_by_us(const struct control *c)
{
    struct stat st;
    int fd = open(c->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode) || st.st_ino != c->file.inode)) {
        close(fd);
        return -1;
    }
    return fd;
}

int control_open(struct control **out, struct span path, const struct io_backend *backend,
                 const struct command_means *means, int *made)
{
    struct control *c = mem_zalloc(sizeof *c);
    struct io_listen spec = {.at = {.family = ADDRESS_UNIX, .path_len = (uint8_t)path.len},
                             .backlog = BACKLOG,
                             .unix_mode = 0600};

    *made = -1;
    if (!c)
        return FAIL_MEMORY;
    memcpy(c->path, path.ptr, path.len);
    memcpy(spec.at.path, path.ptr, path.len);
    c->backend = backend;
    c->means = means;
    int err = io_listen(backend, NULL, &spec, &c->fd);
    if (err < 0) {
        mem_free(c);
        return err;
    }
    descriptor_mark(c->path, &c->file);
    *made = made_by_us(c);
    *out = c;
    return 0;
}

static void client_end(struct client *k)
{
    command_end(&k->command);
    free(k->answer);
    close(k->fd);
    *k = (struct client){.fd = -1};
}

void control_close(struct control *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (c->clients[i].state != CLIENT_NONE)
            client_end(&c->clients[i]);
    io_listen_close(c->backend, NULL, c->fd);
    descriptor_remove(c->path, &c->file);
    mem_free(c);
}

/* --- a client -------------------------------------------------------------------------------- */

static void client_becomes(struct client *k, enum client_state state, uint64_t due)
{
    k->state = state;
    k->due = due;
}

static void client_send(struct client *k, uint64_t now)
{
    while (k->sent < k->answer_len) {
        ssize_t n =
            send(k->fd, k->answer + k->sent, k->answer_len - k->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            client_end(k);
            return;
        }
        k->sent += (size_t)n;
        k->since = now;
    }
    shutdown(k->fd, SHUT_WR);
    client_becomes(k, CLIENT_ENDING, now + LINGER_NS);
}

/* The outcome goes before the rest, which is why it is put together last. */
static void client_answer(struct client *k, uint64_t now)
{
    const char *word = command_outcome_word(k->command.outcome);
    size_t head = strlen(word) + 1;
    char *whole;

    command_end(&k->command);
    if (!k->answer || !(whole = realloc(k->answer, head + k->answer_len))) {
        client_end(k);
        return;
    }
    memmove(whole + head, whole, k->answer_len);
    memcpy(whole, word, head - 1);
    whole[head - 1] = '\n';
    k->answer = whole;
    k->answer_len += head;
    client_becomes(k, CLIENT_TAKING, now + TAKE_NS);
    client_send(k, now);
}

static void client_work(struct client *k, uint64_t now)
{
    command_step(&k->command, now);
    k->due = k->command.give_up_ns ? k->command.give_up_ns : now + SAY_NS;
    if (k->command.stage == COMMAND_DONE)
        client_answer(k, now);
}

static void client_begin(const struct control *c, struct client *k, struct span line, uint64_t now)
{
    struct ucred peer = {.uid = UINT32_MAX};
    socklen_t len = sizeof peer;

    (void)getsockopt(k->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
    k->command = (struct command){.means = c->means, .line = line, .uid = peer.uid};
    if (!(k->command.out = open_memstream(&k->answer, &k->answer_len))) {
        client_end(k);
        return;
    }
    k->state = CLIENT_WAITING;
    if (line.len > CONTROL_LINE_MAX) {
        fprintf(k->command.out, "a command is one line of at most %d bytes\n", CONTROL_LINE_MAX);
        k->command.outcome = COMMAND_USAGE;
        client_answer(k, now);
        return;
    }
    client_work(k, now);
}

static void client_hear(const struct control *c, struct client *k, uint64_t now)
{
    size_t room = sizeof k->line - k->len;
    ssize_t n = recv(k->fd, k->line + k->len, room, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_end(k);
        return;
    }
    k->len += (size_t)n;
    struct span line = {k->line, k->len};
    size_t end = span_find(line, '\n');
    if (end < k->len || k->len == sizeof k->line)
        client_begin(c, k, span_first(line, end), now);
}

static void client_drop_rest(struct client *k)
{
    char nobodys[4096];
    ssize_t n = recv(k->fd, nobodys, sizeof nobodys, MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        client_end(k);
}

static void client_turn(const struct control *c, struct client *k, short came, uint64_t now)
{
    if (k->state == CLIENT_SAYING && came)
        client_hear(c, k, now);
    else if (k->state == CLIENT_WAITING) /* also without news of its own: workers may be done */
        client_work(k, now);
    else if (k->state == CLIENT_TAKING && came)
        client_send(k, now);
    else if (k->state == CLIENT_ENDING && came)
        client_drop_rest(k);
    if (k->state != CLIENT_NONE && k->state != CLIENT_WAITING && now >= k->due)
        client_end(k);
}

/* --- all of them ------------------------------------------------------------------------------ */

/* Nobody whose command is being carried out, or who takes its answer. */
static bool client_may_leave(const struct client *k, uint64_t now)
{
    if (k->state == CLIENT_TAKING)
        return now - k->since >= UNREAD_NS;
    return k->state == CLIENT_SAYING || k->state == CLIENT_ENDING;
}

/* Who gives way when there are too many: who has its answer, then who has said or taken nothing
 * for longest. */
static struct client *client_to_leave(struct control *c, uint64_t now)
{
    struct client *worst = NULL;

    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *k = &c->clients[i];
        if (k->state == CLIENT_NONE)
            return k;
        if (!client_may_leave(k, now))
            continue;
        bool ends = k->state == CLIENT_ENDING;
        if (!worst || ends > (worst->state == CLIENT_ENDING) ||
            (ends == (worst->state == CLIENT_ENDING) && k->since < worst->since))
            worst = k;
    }
    return worst;
}

static void control_accept(struct control *c, uint64_t now)
{
    struct client *k = client_to_leave(c, now);

    if (!k) {
        c->deaf_until = now + FULL_NS;
        return;
    }
    int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno != EAGAIN && errno != ECONNABORTED) /* that client has gone, no other */
            c->deaf_until = now + DEAF_NS;
        return;
    }
    if (k->state != CLIENT_NONE)
        client_end(k);
    *k = (struct client){.state = CLIENT_SAYING, .fd = fd, .since = now, .due = now + SAY_NS};
    client_hear(c, k, now); /* most have said it already */
}

unsigned control_polls(struct control *c, struct pollfd *fds)
{
    static const short events[] = {
        [CLIENT_SAYING] = POLLIN, [CLIENT_TAKING] = POLLOUT, [CLIENT_ENDING] = POLLIN};
    unsigned n = 0;

    if (!c)
        return 0;
    fds[n++] = (struct pollfd){.fd = c->deaf_until > 0 ? -1 : c->fd, .events = POLLIN};
    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        const struct client *k = &c->clients[i];
        /* Of one that waits nothing is wanted: not even that it has gone. */
        if (k->state == CLIENT_NONE || k->state == CLIENT_WAITING)
            continue;
        c->polled[n] = i;
        fds[n++] = (struct pollfd){.fd = k->fd, .events = events[k->state]};
    }
    c->polled[0] = n;
    return n;
}

uint64_t control_due(const struct control *c)
{
    uint64_t due = c && c->deaf_until ? c->deaf_until : TIME_NEVER;

    for (unsigned i = 0; c && i < CONTROL_CLIENTS_MAX; i++)
        if (c->clients[i].state != CLIENT_NONE && c->clients[i].due < due)
            due = c->clients[i].due;
    return due;
}

void control_turn(struct control *c, const struct pollfd *fds, uint64_t now_ns)
{
    short came[CONTROL_CLIENTS_MAX] = {0};

    if (!c)
        return;
    for (unsigned i = 1; i < c->polled[0]; i++)
        came[c->polled[i]] = fds[i].revents;
    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
        client_turn(c, &c->clients[i], came[i], now_ns);
    if (now_ns >= c->deaf_until)
        c->deaf_until = 0;
    if (fds[0].revents)
        control_accept(c, now_ns);
}
