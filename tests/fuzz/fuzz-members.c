/*
 * Any bytes as a member list, as what a token says, whose sum is put right, and as a printed token:
 * what is accepted is within the limits, and codes or prints to the same. For libFuzzer.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/joining.h"
#include "election/base/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void require(bool truth)
{
        if (!truth)
                abort();
}

static void check_members(const struct members *m)
{
        require(m->n <= MEMBERS_MAX && m->id_last <= MEMBERS_MAX);
        for (unsigned i = 0; i < m->n; i++) {
                const struct member *member = &m->list[i];

                require(member->id >= 1 && member->id <= MEMBERS_MAX);
                require(i == 0 || member->id > m->list[i - 1].id);
                require(name_is_valid(member->name));
                require(members_by_id(m, member->id) == member);
                require(members_by_name(m, member->name) == member);
        }
        require((members_free_id(m) == NODE_NOBODY) == (m->n == MEMBERS_MAX));
}

static void try_members(const uint8_t *bytes, size_t n)
{
        struct buffer b = { 0 };
        struct members m;

        if (!members_decode(bytes, n, &m))
                return;
        check_members(&m);
        members_encode(&m, &b);
        require(b.n == n && memcmp(b.bytes, bytes, n) == 0);
        buffer_done(&b);
}

static void try_token(const char *token)
{
        char complaint[JOINING_COMPLAINT_SIZE] = "", printed[JOINING_TOKEN_SIZE];
        struct joining j;

        if (joining_parse(token, &j, complaint) < 0) {
                require(complaint[0] != '\0');
                return;
        }
        check_members(&j.members);
        require(members_by_id(&j.members, j.node) != NULL);
        joining_print(&j, printed);
        require(strcmp(printed, token) == 0);
}

/* Six bits for a letter, as a token has them; @ret has room for 4 letters for 3 bytes and 2 more. */
static void print(const struct buffer *b, char *ret)
{
        static const char digits[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        size_t n = 0;

        for (size_t bit = 0; bit < 8 * b->n; bit += 6) {
                unsigned pair = (unsigned)b->bytes[bit / 8] << 8;

                if (bit / 8 + 1 < b->n)
                        pair |= b->bytes[bit / 8 + 1];
                ret[n++] = digits[pair >> (10 - bit % 8) & 63];
        }
        ret[n] = '\0';
}

static void try_content(const uint8_t *bytes, size_t n)
{
        struct buffer b = { 0 };
        char *token = malloc(2 * n + 16);

        require(token != NULL);
        buffer_put(&b, bytes, n);
        buffer_put_u32(&b, crc32c(0, b.bytes, b.n));
        print(&b, token);
        try_token(token);
        free(token);
        buffer_done(&b);
}

static void try_printed(const uint8_t *bytes, size_t n)
{
        char *token = malloc(n + 1);

        require(token != NULL);
        memcpy(token, bytes, n);
        token[n] = '\0';
        try_token(token);
        free(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        static void (*const tries[])(const uint8_t *bytes, size_t n) = { try_members, try_content,
                                                                         try_printed };

        if (n > 0)
                tries[bytes[0] % 3](bytes + 1, n - 1);
        return 0;
}
