/* Which files make up a configuration. Private to the room. */
#pragma once

#include "conf/conf.h"

struct conf_files {
        char **paths;
        size_t n;
        size_t n_max;
};

void conf_files_done(struct conf_files *files);

/*
 * @path itself, then what is called *.conf in conf.d beside it, in the order of bytes. Zero-
 * initialise @ret; release it with conf_files_done() after a failure, too. Returns 0, or a
 * negative errno with a complaint.
 */
int conf_files_find(const char *path, struct conf_files *ret, struct conf_complaint *ret_complaint);
