/* Any bytes as a member's greeting: what parses is printable, and codes back. For libFuzzer. */
#include <stdlib.h>
#include <string.h>

#include "daemon/peers-wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void require(bool truth)
{
        if (!truth)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        struct peers_greeting greeting = { 0 }, again = { 0 };
        struct buffer b = { 0 };
        uint32_t version;

        if (peers_greeting_parse(bytes, n, &greeting, &version) < 0)
                return 0;
        for (const char *c = greeting.reason; *c; c++)
                require(*c >= ' ' && *c <= '~');
        peers_greeting_put(&b, &greeting);
        require(b.n == n);
        require(peers_greeting_parse(b.bytes, b.n, &again, &version) == 0);
        require(again.cluster_id == greeting.cluster_id && again.from == greeting.from);
        require(strcmp(again.reason, greeting.reason) == 0);
        buffer_done(&b);
        return 0;
}
