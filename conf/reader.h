/*
 * From files to structures: libconfuse finds blocks and options, which are put into the
 * configuration as they come, each with its place. Private to the room.
 */
#pragma once

#include "conf/conf.h"
#include "conf/options.h"
#include "conf/places.h"
#include "election/base/buffer.h"

struct file_reader {
        struct conf *conf;
        struct places *places;
        struct conf_complaint *complaint;
        const char *file; /* that is being read */
        void *open[SECTIONS]; /* the latest block of each section, NULL before the first */
        const void *parsed[SECTIONS]; /* what libconfuse has of the same block, in this file */
        bool has_complained;
};

/*
 * Reads the text of one file, as source_read() made it, in addition to what was read before.
 * Returns 0, or -EINVAL with a complaint.
 */
int file_reader_read(struct file_reader *reader, const char *path, const struct buffer *text);

/*
 * Reads @value into the option of @object. Returns 0, or -EINVAL with a complaint about @file and
 * @line.
 */
int option_parse(const struct conf_option *option, void *object, const char *value,
                 const char *file, unsigned line, struct conf_complaint *ret_complaint);
