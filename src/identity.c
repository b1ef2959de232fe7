/* Who the process is after binding; see identity.h. */
#include "identity.h"

#include "base/fail.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

bool identity_is_root(void)
{
    return geteuid() == 0;
}

void identity_keep_secrets(void)
{
    const struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    prctl(PR_SET_DUMPABLE, 0L); /* also where a program takes the dumps, whatever the limit */
#endif
}

/* Permitted and effective: CAP_NET_BIND_SERVICE alone. */
static int keep_bind_right(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = 1u << CAP_NET_BIND_SERVICE, .permitted = 1u << CAP_NET_BIND_SERVICE}};

    return (int)syscall(SYS_capset, &head, data);
}

static const char *text_of(struct span s, char out[64])
{
    size_t n = s.len < 63 ? s.len : 63;

    memcpy(out, s.ptr, n);
    out[n] = '\0';
    return out;
}

/* Whom the names mean, if we may become that. */
static int identity_find(struct span user, struct span group, const struct passwd **who, gid_t *gid,
                         const char **why)
{
    char name[64];
    const struct passwd *pw = getpwnam(text_of(user, name));
    const struct group *gr = NULL;

    *why = "there is no such user";
    if (!pw)
        return FAIL_NOT_FOUND;
    *why = "there is no such group";
    if (group.len > 0 && !(gr = getgrnam(text_of(group, name))))
        return FAIL_NOT_FOUND;
    *who = pw;
    *gid = gr ? gr->gr_gid : pw->pw_gid;
    *why = "only root may become another user";
    if (geteuid() != 0 && geteuid() != pw->pw_uid) /* to start as that very user is fine */
        return FAIL_ACCESS;
    *why = "the system refused";
    return 0;
}

int identity_known(struct span user, struct span group, const char **why)
{
    const struct passwd *pw;
    gid_t gid;
    int err = identity_find(user, group, &pw, &gid, why);

    return err == FAIL_ACCESS ? 0 : err;
}

int identity_try(struct span user, struct span group, void (*act)(void *data), void *data,
                 const char **why)
{
    gid_t gid, ours = getegid(), groups[NGROUPS_MAX];
    const struct passwd *pw;
    int err = identity_find(user, group, &pw, &gid, why);
    int count = getgroups(NGROUPS_MAX, groups);

    if (err < 0)
        return err;
    if (geteuid() != 0) {
        act(data);
        return 0;
    }
    /* access(2) asks for the real user; the saved one is the way back. */
    if (count < 0 || initgroups(pw->pw_name, gid) < 0 || setresgid(gid, gid, ours) < 0)
        err = FAIL_ACCESS;
    if (err == 0 && setresuid(pw->pw_uid, pw->pw_uid, 0) < 0)
        err = FAIL_ACCESS;
    if (err == 0)
        act(data);
    if (setresuid(0, 0, 0) < 0 || setresgid(ours, ours, ours) < 0 ||
        (count >= 0 && setgroups((size_t)count, groups) < 0))
        err = FAIL_ACCESS;
    return err;
}

int identity_drop(struct span user, struct span group, const int *files, unsigned count,
                  const char **why)
{
    const struct passwd *pw;
    gid_t gid;
    int err = identity_find(user, group, &pw, &gid, why);

    if (err < 0 || geteuid() != 0)
        return err;
    for (unsigned i = 0; i < count; i++)
        if (files[i] >= 0 && fchownat(files[i], "", pw->pw_uid, gid, AT_EMPTY_PATH) < 0)
            return FAIL_ACCESS;
    if (prctl(PR_SET_KEEPCAPS, 1L) < 0 || initgroups(pw->pw_name, gid) < 0 ||
        setresgid(gid, gid, gid) < 0 || setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
        return FAIL_ACCESS;
    if (keep_bind_right() < 0 && pw->pw_uid != 0)
        return FAIL_ACCESS;
    prctl(PR_SET_KEEPCAPS, 0L);
    return 0;
}
