/* failoverctl: the operator's command line. */
#include "daemon/failoverctl/ctl.h"

int main(int argc, char **argv)
{
        return (int)ctl_main(argc, argv);
}
