/* Files, work on helper threads, names. */
#include "tests/backends/backends.h"

#include <fcntl.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <unistd.h>

static struct io *io;
static struct idler owner;
static char directory[] = "backends-files-XXXXXX";
static int dir;

static void begin(void)
{
    io = engine_open();
    idler_init(&owner, io);
    CHECK(mkdtemp(directory));
    dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(dir >= 0);
}

static void end(void)
{
    static const char *const names[] = {"file",  "other",    "inside",   "outside", "up",
                                        "climb", "sub/deep", "absolute", "sub/back"};

    for (size_t i = 0; i < COUNT_OF(names); i++)
        unlinkat(dir, names[i], 0);
    unlinkat(dir, "sub", AT_REMOVEDIR);
    rmdir(directory);
    close(dir);
    owner_retire(&owner.owner);
    engine_close(io);
}

/* Does what f says and returns the outcome. */
static int file_call(struct io_file *f, enum io_file_call call)
{
    f->op.owner = &owner.owner;
    f->call = (uint8_t)call;
    io_file(io, f);
    CHECK(io_busy(&f->op) && !f->op.done);
    TURN_UNTIL(io, io_take(&f->op));
    return f->op.fail;
}

static int open_path(struct io_file *f, const char *path, unsigned flags)
{
    *f = (struct io_file){.dir = dir, .path = path, .flags = (uint8_t)flags, .fd = -1};
    return file_call(f, IO_FILE_OPEN);
}

static void plain_file(const char *name, const char *text)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    CHECK(fd >= 0);
    CHECK_EQUAL(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void a_file_is_written_synced_renamed_and_read_back(void)
{
    struct io_file f;
    char text[20] = "0123456789abcdef", back[20] = "";

    begin();
    CHECK_EQUAL(open_path(&f, "other", IO_OPEN_WRITE | IO_OPEN_BENEATH), 0);
    f.base = text;
    f.len = 16;
    CHECK_EQUAL(file_call(&f, IO_FILE_WRITE), 0);
    CHECK_EQUAL(f.op.count, 16);
    f.base = text;
    f.len = 2;
    f.offset = 3;
    CHECK_EQUAL(file_call(&f, IO_FILE_WRITE), 0);
    CHECK_EQUAL(file_call(&f, IO_FILE_SYNC), 0);
    CHECK_EQUAL(file_call(&f, IO_FILE_STAT), 0);
    CHECK_EQUAL(f.stat.size, 16);
    CHECK(f.stat.regular && !f.stat.directory);
    CHECK_EQUAL(f.stat.mode & 0777, 0600);
    io_file_close(io, f.fd);

    f = (struct io_file){.dir = dir, .path = "other", .path_to = "file"};
    CHECK_EQUAL(file_call(&f, IO_FILE_RENAME), 0);
    f = (struct io_file){.fd = dir};
    CHECK_EQUAL(file_call(&f, IO_FILE_SYNC), 0);
    CHECK_EQUAL(open_path(&f, "other", 0), FAIL_NOT_FOUND);

    CHECK_EQUAL(open_path(&f, "file", IO_OPEN_BENEATH), 0);
    CHECK_EQUAL(f.stat.size, 16);
    CHECK(f.stat.mtime_ns > INT64_C(1600000000) * (int64_t)NS_PER_S);
    f.base = back;
    f.len = sizeof back;
    CHECK_EQUAL(file_call(&f, IO_FILE_READ), 0);
    CHECK_EQUAL(f.op.count, 16);
    CHECK(strcmp(back, "01201" /* two bytes at 3 */ "56789abcdef") == 0);
    f.offset = 10;
    CHECK_EQUAL(file_call(&f, IO_FILE_READ), 0);
    CHECK_EQUAL(f.op.count, 6);
    f.offset = 16;
    CHECK_EQUAL(file_call(&f, IO_FILE_READ), 0);
    CHECK_EQUAL(f.op.count, 0);
    io_file_close(io, f.fd);
    end();
}

static void nothing_outside_is_opened_beneath(void)
{
    static const struct {
        const char *path;
        int beneath, no_links;
    } cases[] = {
        {"inside", 0, FAIL_LOOP}, /* a link to a file beside it */
        {"outside", FAIL_LOOP, FAIL_LOOP},
        {"absolute", FAIL_LOOP, FAIL_LOOP},
        {"climb", FAIL_LOOP, FAIL_LOOP},
        {"sub/back", 0, FAIL_LOOP}, /* up, but not out */
        {"../x", FAIL_LOOP, 0},
        {"sub/../../x", FAIL_LOOP, 0},
        {"/etc/passwd", FAIL_LOOP, 0},
        {"sub/../file", 0, 0},
        {"sub/deep", 0, 0},
        {"none", FAIL_NOT_FOUND, FAIL_NOT_FOUND},
        {"file/x", FAIL_NOT_DIR, FAIL_NOT_DIR},
    };
    struct io_file f;

    begin();
    plain_file("file", "text");
    CHECK(mkdirat(dir, "sub", 0700) == 0);
    plain_file("sub/deep", "text");
    CHECK(symlinkat("file", dir, "inside") == 0);
    CHECK(symlinkat("../file", dir, "sub/back") == 0);
    CHECK(symlinkat("../Makefile", dir, "outside") == 0);
    CHECK(symlinkat("/etc/passwd", dir, "absolute") == 0);
    CHECK(symlinkat("..", dir, "up") == 0);
    CHECK(symlinkat("up/Makefile", dir, "climb") == 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CHECK_EQUAL(open_path(&f, cases[i].path, IO_OPEN_BENEATH), cases[i].beneath);
        if (f.op.fail == 0)
            io_file_close(io, f.fd);
        int fail = open_path(&f, cases[i].path, IO_OPEN_BENEATH | IO_OPEN_NO_LINKS);
        CHECK_EQUAL(fail, cases[i].no_links ? cases[i].no_links : cases[i].beneath);
        if (fail == 0)
            io_file_close(io, f.fd);
    }
    /* Without a word about links they are followed. */
    CHECK_EQUAL(open_path(&f, "absolute", 0), 0);
    io_file_close(io, f.fd);
    end();
}

static void directories_and_odd_files_are_told_apart(void)
{
    struct io_file f;

    begin();
    CHECK(mkdirat(dir, "sub", 0700) == 0);
    CHECK(mkfifoat(dir, "file", 0600) == 0);
    CHECK_EQUAL(open_path(&f, "sub", IO_OPEN_DIR | IO_OPEN_BENEATH), 0);
    CHECK(f.stat.directory && !f.stat.regular);
    io_file_close(io, f.fd);
    CHECK_EQUAL(open_path(&f, "file", IO_OPEN_BENEATH), 0); /* would hang if it could */
    CHECK(!f.stat.directory && !f.stat.regular);
    io_file_close(io, f.fd);
    CHECK_EQUAL(open_path(&f, "file", IO_OPEN_DIR | IO_OPEN_BENEATH), FAIL_NOT_DIR);
    end();
}

/* --- watching ------------------------------------------------------------------------ */

static struct io_watch watch;

static void watch_again(void)
{
    watch.op.owner = &owner.owner;
    watch.dir = dir;
    watch.path = "file";
    watch.every_ns = 5 * NS_PER_MS;
    io_watch(io, &watch);
    CHECK(io_busy(&watch.op) && !watch.op.done);
}

static void watch_sees(uint64_t size)
{
    TURN_UNTIL(io, io_take(&watch.op));
    CHECK(!io_busy(&watch.op));
    CHECK_EQUAL(watch.op.fail, 0);
    CHECK_EQUAL(watch.stat.size, size);
    CHECK_EQUAL(io->busy, 0);
}

/* Of the same time as all others that were written so. */
static void plain_aged(const char *name, const char *text)
{
    static const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000000000}};

    plain_file(name, text);
    CHECK(utimensat(dir, name, times, 0) == 0);
}

/* Size, inode, time, and that it is there at all; what does not change says nothing. */
static void a_watched_file_is_seen_to_change(void)
{
    struct io_file f;

    begin();
    plain_aged("other", "text");
    CHECK(symlinkat("other", dir, "file") == 0);
    CHECK_EQUAL(open_path(&f, "file", 0), 0);
    io_file_close(io, f.fd);
    watch.stat = f.stat;
    watch_again();
    uint64_t began = real_ns();
    while (real_ns() - began < 40 * NS_PER_MS)
        turn_some(io);
    CHECK(io_busy(&watch.op));
    plain_aged("other", "longer text"); /* the size alone */
    watch_sees(11);
    watch_again();
    CHECK(utimensat(dir, "other", NULL, 0) == 0); /* the time alone */
    watch_sees(11);
    plain_aged("other", "longer text");
    watch_again();
    watch_sees(11);
    watch_again();
    plain_aged("inside", "longer text"); /* the inode alone: the link leads elsewhere */
    CHECK(symlinkat("inside", dir, "up") == 0);
    CHECK(renameat(dir, "up", dir, "file") == 0);
    watch_sees(11);
    watch_again();
    CHECK(unlinkat(dir, "inside", 0) == 0); /* and nowhere */
    watch_sees(0);
    CHECK_EQUAL(watch.stat.inode, 0);
    watch_again();
    plain_file("inside", "another");
    watch_sees(7);
    watch_again();
    CHECK(unlinkat(dir, "file", 0) == 0);
    watch_sees(0);
    end();
}

/* While it waits, and while it looks. */
static void a_watch_can_be_cancelled_at_any_time(void)
{
    begin();
    for (unsigned i = 0; i < 40; i++) {
        watch.stat = (struct io_stat){0};
        watch_again();
        uint64_t until = real_ns() + i * NS_PER_MS / 4;
        while (real_ns() < until)
            CHECK(io_turn(io, NS_PER_MS / 8));
        io_cancel(io, &watch.op);
        CHECK(io_busy(&watch.op) && !watch.op.done);
        TURN_UNTIL(io, io_take(&watch.op));
        CHECK_EQUAL(watch.op.fail, FAIL_CANCELLED);
        CHECK_EQUAL(io->busy, 0);
    }
    end();
}

/* --- work ---------------------------------------------------------------------------- */

struct job {
    struct io_work work;
    sem_t *begun, *may_end;
    unsigned ran;
};

static void job_run(struct io_work *w)
{
    struct job *j = container_of(w, struct job, work);

    if (j->begun)
        sem_post(j->begun);
    if (j->may_end)
        sem_wait(j->may_end);
    j->ran++;
}

static void work_runs_elsewhere_and_completes_here(void)
{
    struct job jobs[200];
    unsigned done = 0;

    begin();
    for (unsigned i = 0; i < COUNT_OF(jobs); i++) {
        jobs[i] = (struct job){.work = {.op.owner = &owner.owner, .run = job_run}};
        io_work(io, &jobs[i].work);
    }
    TURN_UNTIL(io, io->busy == 0);
    for (unsigned i = 0; i < COUNT_OF(jobs); i++) {
        done += io_take(&jobs[i].work.op);
        CHECK_EQUAL(jobs[i].work.op.fail, 0);
        CHECK_EQUAL(jobs[i].ran, 1);
    }
    CHECK_EQUAL(done, COUNT_OF(jobs));
    end();
}

static void work_that_has_begun_cannot_be_cancelled_and_waiting_work_can(void)
{
    sem_t begun, may_end;
    struct job jobs[4];

    begin();
    sem_init(&begun, 0, 0);
    sem_init(&may_end, 0, 0);
    for (unsigned i = 0; i < COUNT_OF(jobs); i++)
        jobs[i] = (struct job){{.op.owner = &owner.owner, .run = job_run}, &begun, &may_end, 0};
    io_work(io, &jobs[0].work);
    io_work(io, &jobs[1].work); /* both threads are busy now */
    sem_wait(&begun);
    sem_wait(&begun);
    io_work(io, &jobs[2].work);
    io_work(io, &jobs[3].work);
    for (unsigned i = 0; i < 3; i++)
        io_cancel(io, &jobs[i].work.op);
    CHECK(io_busy(&jobs[2].work.op));
    TURN_UNTIL(io, io_take(&jobs[2].work.op));
    CHECK_EQUAL(jobs[2].work.op.fail, FAIL_CANCELLED);
    CHECK(io_busy(&jobs[0].work.op) && io_busy(&jobs[1].work.op));
    for (unsigned i = 0; i < 3; i++)
        sem_post(&may_end);
    TURN_UNTIL(io, io->busy == 0);
    CHECK_EQUAL(jobs[0].ran + jobs[1].ran + jobs[3].ran, 3);
    CHECK_EQUAL(jobs[0].work.op.fail, 0);
    CHECK_EQUAL(jobs[2].ran, 0);
    end();
}

static void names_are_resolved(void)
{
    struct io_resolve r = {.work.op.owner = &owner.owner, .host = "localhost", .port = 81};
    bool loopback = false;

    begin();
    io_resolve(io, &r);
    TURN_UNTIL(io, io_take(&r.work.op));
    CHECK_EQUAL(r.work.op.fail, 0);
    CHECK(r.count > 0);
    for (unsigned i = 0; i < r.count; i++) {
        CHECK_EQUAL(r.found[i].port, 81);
        loopback |= r.found[i].family == ADDRESS_IPV4 && r.found[i].ip[0] == 127;
    }
    CHECK(loopback);
    r.host = "192.0.2.7";
    r.family = ADDRESS_IPV4;
    io_resolve(io, &r);
    TURN_UNTIL(io, io_take(&r.work.op));
    CHECK_EQUAL(r.work.op.fail, 0);
    CHECK_EQUAL(r.count, 1);
    CHECK_EQUAL(r.found[0].ip[3], 7);
    r.family = ADDRESS_IPV6;
    io_resolve(io, &r);
    TURN_UNTIL(io, io_take(&r.work.op));
    CHECK(r.work.op.fail < 0);
    CHECK_EQUAL(r.count, 0);
    end();
}

const struct test file_tests[] = {
    {"a_file_is_written_synced_renamed_and_read_back",
     a_file_is_written_synced_renamed_and_read_back},
    {"nothing_outside_is_opened_beneath", nothing_outside_is_opened_beneath},
    {"directories_and_odd_files_are_told_apart", directories_and_odd_files_are_told_apart},
    {"a_watched_file_is_seen_to_change", a_watched_file_is_seen_to_change},
    {"a_watch_can_be_cancelled_at_any_time", a_watch_can_be_cancelled_at_any_time},
    {"work_runs_elsewhere_and_completes_here", work_runs_elsewhere_and_completes_here},
    {"work_that_has_begun_cannot_be_cancelled_and_waiting_work_can",
     work_that_has_begun_cannot_be_cancelled_and_waiting_work_can},
    {"names_are_resolved", names_are_resolved},
    {0},
};
