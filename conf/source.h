/*
 * A file of the configuration as text for libconfuse: without comments, and with the line of each
 * opened block written into the block. Private to the room.
 *
 * libconfuse accepts files whose blocks are never closed, drops characters that it does not know,
 * counts a line too much after a C comment, and replaces ${NAME} from the environment, which is
 * another one in each process that reads the file. All of this is seen and refused here, at the
 * line where it begins.
 */
#pragma once

#include "conf/conf.h"
#include "election/base/buffer.h"

/* The option that stands first in each block of the text, with the line of the brace as value. */
#define SOURCE_LINE "@line"

/*
 * Reads @path and appends its text to @ret, without a final NUL byte. Returns 0, or a negative
 * errno with a complaint.
 */
int source_read(const char *path, struct buffer *ret, struct conf_complaint *ret_complaint);

/* The same for @n bytes that are called @path in complaints. */
int source_prepare(const char *path, const char *bytes, size_t n, struct buffer *ret,
                   struct conf_complaint *ret_complaint);
