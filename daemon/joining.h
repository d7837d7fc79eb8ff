/*
 * How a machine joins a cluster: a token, printed by those who are in it, says who it will be and
 * whom it can talk to; from it the data directory of the new member is made.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "election/members.h"

enum {
        JOINING_TOKEN_SIZE = 4096, /* bytes of a printed token, with the final NUL */
        JOINING_COMPLAINT_SIZE = 256,
};

struct joining {
        uint64_t cluster_id;
        node_id node; /* of the list: who joins */
        struct members members;
};

/* Prints a token into @ret of JOINING_TOKEN_SIZE bytes: letters, digits, '-' and '_'. */
void joining_print(const struct joining *j, char *ret);

/* Returns 0, or -EINVAL and why it is no token, or one that was damaged. */
int joining_parse(const char *token, struct joining *ret,
                  char complaint[static JOINING_COMPLAINT_SIZE]);

/*
 * Makes the log of a member that joins in @dir, which is created if need be, and notes there whom it
 * joins. Returns 0, or a negative errno and why: -EEXIST if there is a log already.
 */
int joining_prepare(const char *dir, const struct joining *j,
                    char complaint[static JOINING_COMPLAINT_SIZE]);

/*
 * Whom the member with its log in @dir joins, or has joined. Returns 0, -ENOENT if it was in the
 * cluster from its founding on, or -EBADMSG.
 */
int joining_read(const char *dir, struct joining *ret);
