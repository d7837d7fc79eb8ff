/* Users and capabilities, by the plain system calls. */
#include "daemon/executor-privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int user_from_entry(const struct passwd *entry, struct user *ret)
{
        struct user u = { .uid = entry->pw_uid, .gid = entry->pw_gid, .n_groups = USER_GROUPS_MAX };

        if (strlen(entry->pw_name) >= sizeof(u.name) || strlen(entry->pw_dir) >= sizeof(u.home))
                return -ENAMETOOLONG;
        memcpy(u.name, entry->pw_name, strlen(entry->pw_name) + 1);
        memcpy(u.home, entry->pw_dir, strlen(entry->pw_dir) + 1);
        if (getgrouplist(u.name, u.gid, u.groups, &u.n_groups) < 0)
                return -E2BIG;
        *ret = u;
        return 0;
}

int user_lookup(const char *name, struct user *ret)
{
        const struct passwd *entry;

        errno = 0;
        entry = getpwnam(name);
        if (!entry)
                return errno ? -errno : -ENOENT;
        return user_from_entry(entry, ret);
}

int user_self(struct user *ret)
{
        const struct passwd *entry;

        errno = 0;
        entry = getpwuid(geteuid());
        if (!entry)
                return errno ? -errno : -ENOENT;
        return user_from_entry(entry, ret);
}

int user_become(const struct user *user)
{
        if (user->uid == geteuid())
                return 0;
        if (setgroups((size_t)user->n_groups, user->groups) < 0)
                return -errno;
        if (setresgid(user->gid, user->gid, user->gid) < 0)
                return -errno;
        if (setresuid(user->uid, user->uid, user->uid) < 0)
                return -errno;
        return 0;
}

static int get_permitted(uint64_t *ret)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        *ret = data[0].permitted | (uint64_t)data[1].permitted << 32;
        return 0;
}

static int set_capabilities(uint64_t wanted)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
                { .effective = (uint32_t)wanted, .permitted = (uint32_t)wanted },
                { .effective = (uint32_t)(wanted >> 32), .permitted = (uint32_t)(wanted >> 32) },
        };

        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
                return -errno;
        if (syscall(SYS_capset, &header, data) < 0)
                return -errno;
        return 0;
}

int privileges_keep_executor(void)
{
        uint64_t permitted = 0;
        int r;

        r = get_permitted(&permitted);
        if (r < 0)
                return r;
        return set_capabilities(permitted &
                                (UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_NET_RAW |
                                 UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID |
                                 UINT64_C(1) << CAP_KILL));
}

int privileges_drop_all(void)
{
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        return set_capabilities(0);
}

bool privileges_lock_memory(void)
{
        const struct rlimit unlimited = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };

        /* With a limit, the first allocation beyond it would fail: then better not at all. */
        if (setrlimit(RLIMIT_MEMLOCK, &unlimited) < 0)
                return false;
        /* Only pages that are used: whole libraries would cost more memory than all we have. */
        return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}
