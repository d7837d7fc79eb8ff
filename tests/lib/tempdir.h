/* A directory of a test's own, for files that it writes. */
#pragma once

enum { TEMPDIR_PATH_SIZE = 256 }; /* bytes for a path in it */

struct tempdir {
        char dir[64];
};

/* Makes an empty directory; ends the test program if that is impossible. */
void tempdir_make(struct tempdir *t);

/* Removes it with all that is in it. */
void tempdir_remove(struct tempdir *t);

/* The path of @name in it, in @ret. */
const char *tempdir_path(const struct tempdir *t, const char *name,
                         char ret[static TEMPDIR_PATH_SIZE]);

/* Writes @n bytes to the file @name, making directories on the way; ends the program on failure. */
void tempdir_write(const struct tempdir *t, const char *name, const void *bytes, unsigned long n);

/* The same for a text. */
void tempdir_write_text(const struct tempdir *t, const char *name, const char *text);

/* The content of the file @path as a string for free(); ends the program on failure. */
char *read_whole_file(const char *path);
