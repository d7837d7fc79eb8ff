/* failoverctl: the operator's command line. */
#include "daemon/failoverctl/ctl.h"

int main(int argc, char **argv)
{
        return ctl_main(argc, argv);
}
