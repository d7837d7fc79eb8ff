/*
 * Looks every two milliseconds whether an address is on an interface of this network namespace, and
 * prints each change with its time on CLOCK_MONOTONIC: "present USEC", "absent USEC", where the
 * time of an absence is that of the last look that still saw it, plus one look: never too early.
 *
 *     address-watch ADDRESS
 */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static volatile sig_atomic_t ended;

static void on_end(int number)
{
        (void)number;
        ended = 1;
}

static uint64_t now_usec(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
        return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static bool is_present(in_addr_t address)
{
        struct ifaddrs *list, *i;
        bool found = false;

        if (getifaddrs(&list) < 0)
                return false;
        for (i = list; i; i = i->ifa_next) {
                if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET)
                        found |= ((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr.s_addr ==
                                 address;
        }
        freeifaddrs(list);
        return found;
}

int main(int argc, char **argv)
{
        bool known = false, was = false;
        in_addr_t address;

        if (argc != 2 || (address = inet_addr(argv[1])) == INADDR_NONE)
                return 2;
        (void)setvbuf(stdout, NULL, _IOLBF, 0); /* at worst the lines come later */
        (void)signal(SIGTERM, on_end);
        while (!ended) {
                bool is = is_present(address);

                if (!known || is != was)
                        printf("%s %llu\n", is ? "present" : "absent",
                               (unsigned long long)now_usec());
                known = true;
                was = is;
                (void)poll(NULL, 0, 2);
        }
        return 0;
}
