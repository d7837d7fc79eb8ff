/* Which user a process runs as, and which powers of root it keeps. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

enum {
        USER_GROUPS_MAX = 64,
        USER_HOME_SIZE = 256,
        USER_NAME_SIZE = 64,
};

/* Somebody to run a child as. Looked up once: later a directory service may not answer. */
struct user {
        char name[USER_NAME_SIZE];
        char home[USER_HOME_SIZE];
        uid_t uid;
        gid_t gid;
        gid_t groups[USER_GROUPS_MAX];
        int n_groups;
};

/* -ENOENT: there is no such user. -E2BIG: it is in more than USER_GROUPS_MAX groups. */
int user_lookup(const char *name, struct user *ret);

/* The user of this process. */
int user_self(struct user *ret);

/* Becomes @user for good; without a change of user it does nothing. */
int user_become(const struct user *user);

/*
 * Keeps only what the executor needs: to set addresses, to send announcements, to become the users
 * of its children, and to end processes of theirs. What is not there is not an error.
 */
int privileges_keep_executor(void);

/* Gives up all capabilities, and the hope of ever getting one again by executing a program. */
int privileges_drop_all(void);

/* Keeps this process in memory as far as that is allowed; without it a deadline may wait for a
 * disk. Returns whether it is. */
bool privileges_lock_memory(void);
