/* The table of commands, and the help that is made from it. */
#include <string.h>

#include "daemon/failoverctl/ctl.h"

#define READ_DETAILS                                                                               \
        "A majority of the members confirms it; --local is content with what the member knows\n"   \
        "that is asked."
#define VALUE_DETAILS "Without VALUE it is read from standard input."
#define LOCK_DETAILS                                                                                 \
        "Waits until it is its turn; --timeout limits that. The command finds FAILOVER_EPOCH in\n"   \
        "its environment, a number that only grows. It is ended before anybody else can have the\n"  \
        "turn, also when failoverctl is killed. Without COMMAND prints the key and holds it until\n" \
        "standard input ends or a signal comes. Exit status: that of the command; 1 the key was\n"   \
        "taken away, 3 it could not be kept, 5 time-out."

/* clang-format off */
static const struct ctl_command commands[] = {
        { "who-is-master", "[SERVICE]", "print the name and the address of the master",
          0, 1, 0, false, true, ctl_who_is_master,
          "A majority of the members confirms the answer. Exit status: 0 there is a master,\n"
          "1 there is none, 3 it cannot be known, because no majority answers." },
        { "status", "", "show members, services and what is wrong",
          0, 0, 0, false, true, ctl_status,
          "As the member that is asked sees it: this machine's, or the first that answers.\n"
          "Exit status: 0 all is well, 1 something is wrong, 3 no majority or no answer." },
        { "switchover", "SERVICE [--to NODE]", "move the master without losing anything",
          1, 1, CTL_OPTION_TO, false, true, ctl_switchover,
          "Without --to the best candidate is taken. Waits until it is done, refused or undone.\n"
          "Exit status: 0 done, 1 failed and undone, 4 refused for safety, 5 time-out." },
        { "failover", "SERVICE --to NODE", "make NODE the master, whatever may be lost",
          1, 1, CTL_OPTION_TO | CTL_OPTION_YES, false, true, ctl_failover,
          "For when the master is gone and nobody may take over by the rules; see why-not first.\n"
          "Asks before it begins; --yes answers." },
        { "cancel", "SERVICE", "take back a switchover or failover that was ordered",
          1, 1, 0, false, true, ctl_cancel, NULL },
        { "pause", "SERVICE", "leave the service as it is: no failover, no repairs",
          1, 1, 0, false, true, ctl_pause_service, NULL },
        { "resume", "SERVICE", "end a pause",
          1, 1, 0, false, true, ctl_resume_service, NULL },
        { "why-not", "SERVICE [NODE]", "say who could be the next master, and why not",
          1, 2, 0, false, true, ctl_why_not,
          "With NODE, exit status: 0 it could, 1 it could not." },
        { "history", "[SERVICE]", "list the changes of master",
          0, 1, 0, false, true, ctl_history, NULL },
        { "bootstrap", "SERVICE --initdb|--adopt", "make this machine the first master",
          1, 1, CTL_OPTION_BOOTSTRAP, false, true, ctl_bootstrap,
          "--initdb creates a new database, --adopt takes the one that is in the data directory.\n"
          "Waits until this machine is the master, or says what failed." },
        { "clone", "SERVICE", "make this machine a standby, by copying the master",
          1, 1, 0, false, true, ctl_clone,
          "Waits until the database here streams from the master, or says what failed." },
        { "config", "check|dump [FILE]", "check the configuration, or print it with all defaults",
          1, 2, 0, false, false, ctl_config, NULL },
        { "get", "KEY", "print the value of a key",
          1, 1, CTL_OPTION_READ | CTL_OPTION_SORT, false, true, ctl_get, READ_DETAILS },
        { "set", "KEY [VALUE]", "set a key",
          1, 2, CTL_OPTION_TTL | CTL_OPTION_SWAP, false, true, ctl_set, VALUE_DETAILS },
        { "mk", "KEY [VALUE]", "make a key that is not there yet",
          1, 2, CTL_OPTION_TTL | CTL_OPTION_IN_ORDER, false, true, ctl_mk, VALUE_DETAILS },
        { "mkdir", "KEY", "make a directory that is not there yet",
          1, 1, CTL_OPTION_TTL, false, true, ctl_mkdir, NULL },
        { "rm", "KEY", "remove a key, or with -r a directory",
          1, 1, CTL_OPTION_RECURSIVE | CTL_OPTION_DIR | CTL_OPTION_WITH, false, true, ctl_rm,
          "With --with-value or --with-index only if the key is still as it was." },
        { "rmdir", "KEY", "remove an empty directory, or a key",
          1, 1, 0, false, true, ctl_rmdir, NULL },
        { "setdir", "KEY", "make a directory, also in place of a key",
          1, 1, CTL_OPTION_TTL, false, true, ctl_setdir, NULL },
        { "update", "KEY [VALUE]", "change a key that is there",
          1, 2, CTL_OPTION_TTL, false, true, ctl_update, VALUE_DETAILS },
        { "updatedir", "KEY", "change the TTL of a directory",
          1, 1, CTL_OPTION_TTL, false, true, ctl_updatedir,
          "Without --ttl it has none from then on." },
        { "ls", "[KEY]", "list the keys of a directory",
          0, 1, CTL_OPTION_RECURSIVE | CTL_OPTION_SORT | CTL_OPTION_SLASH | CTL_OPTION_READ, false,
          true, ctl_ls, READ_DETAILS },
        { "watch", "KEY", "wait for a change of a key, and print it",
          1, 1, CTL_OPTION_RECURSIVE | CTL_OPTION_FOREVER | CTL_OPTION_AFTER, false, true, ctl_watch,
          "Changes that came before it was asked are found by --after-index. Exit status: 1 if\n"
          "they are too long ago to be known, 5 if nothing happened within --timeout." },
        { "exec-watch", "KEY COMMAND...", "run a command for each change of a key",
          1, 1, CTL_OPTION_RECURSIVE | CTL_OPTION_AFTER, true, true, ctl_exec_watch,
          "One after the other, with ETCD_WATCH_ACTION, ETCD_WATCH_KEY, ETCD_WATCH_VALUE and\n"
          "ETCD_WATCH_MODIFIED_INDEX in the environment." },
        { "lock", "NAME [COMMAND...]", "run a command while nobody else has the lock",
          1, 1, CTL_OPTION_TTL | CTL_OPTION_GRACE, true, true, ctl_lock, LOCK_DETAILS },
        { "elect", "NAME VALUE [COMMAND...]", "run a command while elected",
          1, 2, CTL_OPTION_TTL | CTL_OPTION_GRACE | CTL_OPTION_LISTEN, true, true, ctl_elect,
          LOCK_DETAILS },
        { "member", "list|add|token|promote|remove|update ...", "list or change the members",
          1, 4, 0, false, true, ctl_member,
          "member list\n"
          "member add NAME ADDRESS [witness|observer]\n"
          "                          then failoverd --join with the token that is printed\n"
          "member token NAME         print it again\n"
          "member promote|remove ID\n"
          "member update ID ADDRESS\n"
          "ID is the number of a member, or its name; ADDRESS may have a port, or be a URL." },
        { "backup", "FILE", "write all that the store has to a file",
          1, 1, 0, false, true, ctl_backup,
          "On the machine of a member, by root or failoverd's own user. failoverd --restore makes a\n"
          "new cluster of it." },
};
/* clang-format on */

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]), SUGGESTION_PREFIX_MIN = 2 };

const struct ctl_command *ctl_command_at(size_t i)
{
        return i < N_COMMANDS ? &commands[i] : NULL;
}

const struct ctl_command *ctl_command_by_name(const char *name)
{
        for (size_t i = 0; i < N_COMMANDS; i++) {
                if (strcmp(commands[i].name, name) == 0)
                        return &commands[i];
        }
        return NULL;
}

static size_t common_prefix(const char *a, const char *b)
{
        size_t n = 0;

        while (a[n] && a[n] == b[n])
                n++;
        return n;
}

/* Slips and shortened words nearly always begin right. */
const char *ctl_command_suggest(const char *word)
{
        const char *best = NULL;
        size_t n_best = SUGGESTION_PREFIX_MIN - 1;

        for (size_t i = 0; i < N_COMMANDS; i++) {
                size_t n = common_prefix(word, commands[i].name);

                if (n > n_best) {
                        n_best = n;
                        best = commands[i].name;
                }
        }
        return best;
}

void ctl_print_help(FILE *file)
{
        fputs("usage: failoverctl [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n", file);
        for (size_t i = 0; i < N_COMMANDS; i++)
                fprintf(file, "  %-13s %-27s %s\n", commands[i].name, commands[i].arguments,
                        commands[i].meaning);
        fputs("\n"
              "Options:\n"
              "  -c, --config FILE         the configuration; /etc/failoverd/failoverd.conf\n"
              "      --endpoint HOST:PORT  ask only there (more with commas), without a configuration\n"
              "  -o, --output json|table   for programs, or for people; table; extended for keys\n"
              "      --timeout DURATION    wait no longer, as 500ms, 10s or 2min\n"
              "      --no-color            no colours; so does NO_COLOR in the environment\n"
              "  -h, --help                this text; after a command, that of the command\n"
              "\n"
              "Exit status: 0 yes or done, 1 no, 2 wrong usage, 3 unknown or no quorum,\n"
              "4 refused for safety, 5 time-out.\n",
              file);
}

static const struct {
        unsigned option;
        const char *text;
} option_texts[] = {
        { CTL_OPTION_TO, "      --to NODE             the new master\n" },
        { CTL_OPTION_YES, "      --yes                 do not ask\n" },
        { CTL_OPTION_BOOTSTRAP, "      --initdb              create a new database\n"
                                "      --adopt               take the database that is there\n" },
        { CTL_OPTION_TTL, "      --ttl SECONDS         it goes after that time\n" },
        { CTL_OPTION_RECURSIVE, "  -r, --recursive           with all that is below\n" },
        { CTL_OPTION_DIR, "      --dir                 an empty directory, too\n" },
        { CTL_OPTION_SORT, "      --sort                by name\n" },
        { CTL_OPTION_READ, "  -q, --quorum              confirmed by a majority, as is usual\n"
                           "      --local               as the member knows it that is asked\n" },
        { CTL_OPTION_SLASH, "  -p, --slash               directories end with a slash\n" },
        { CTL_OPTION_IN_ORDER,
          "      --in-order            KEY is a directory: number a key in it\n" },
        { CTL_OPTION_SWAP, "      --swap-with-value OLD only if that is its value\n"
                           "      --swap-with-index N   only if it was last changed at N\n" },
        { CTL_OPTION_WITH, "      --with-value OLD      only if that is its value\n"
                           "      --with-index N        only if it was last changed at N\n" },
        { CTL_OPTION_AFTER, "      --after-index N       changes later than N\n" },
        { CTL_OPTION_FOREVER, "  -f, --forever             one after the other\n" },
        { CTL_OPTION_GRACE,
          "      --grace DURATION      between TERM and KILL; a fifth of the TTL\n" },
        { CTL_OPTION_LISTEN,
          "  -l, --listen              only print who is elected, again and again\n" },
};

void ctl_print_command_help(FILE *file, const struct ctl_command *command)
{
        fprintf(file, "usage: failoverctl [OPTION]... %s %s\n\n%s.\n", command->name,
                command->arguments, command->meaning);
        if (command->details)
                fprintf(file, "\n%s\n", command->details);
        if (command->options)
                fputs("\nOptions of this command:\n", file);
        for (size_t i = 0; i < sizeof(option_texts) / sizeof(option_texts[0]); i++) {
                if (command->options & option_texts[i].option)
                        fputs(option_texts[i].text, file);
        }
        fputs("\n\"failoverctl --help\" lists the options of all commands.\n", file);
}
