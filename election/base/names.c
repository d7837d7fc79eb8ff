/* What may be a name. */
#include "election/base/names.h"

#include <string.h>

static bool is_alphanumeric(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool name_is_valid(const char *s)
{
        size_t n = strlen(s);

        if (n == 0 || n >= NAME_SIZE || !is_alphanumeric(s[0]))
                return false;
        for (size_t i = 1; i < n; i++) {
                if (!is_alphanumeric(s[i]) && !strchr("._-", s[i]))
                        return false;
        }
        return true;
}
