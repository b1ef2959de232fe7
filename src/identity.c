/* Who the process is after binding; see identity.h. */
#include "identity.h"

#include "base/fail.h"

#include <fcntl.h>
#include <grp.h>
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

int identity_drop(struct span user, struct span group, const int *files, unsigned count,
                  const char **why)
{
    char name[64];
    struct passwd *pw = getpwnam(text_of(user, name));
    struct group *gr = NULL;

    *why = "there is no such user";
    if (!pw)
        return FAIL_NOT_FOUND;
    gid_t gid = pw->pw_gid;
    *why = "there is no such group";
    if (group.len > 0) {
        if (!(gr = getgrnam(text_of(group, name))))
            return FAIL_NOT_FOUND;
        gid = gr->gr_gid;
    }
    if (geteuid() != 0) { /* an unprivileged start as that very user is fine */
        *why = "only root may become another user";
        return geteuid() == pw->pw_uid ? 0 : FAIL_ACCESS;
    }
    *why = "the system refused";
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
