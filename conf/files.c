/* The main file and the directory beside it. */
#include "conf/files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/complaint.h"
#include "election/base/memory.h"

#define DROPIN_DIR "conf.d"
#define DROPIN_SUFFIX ".conf"

void conf_files_done(struct conf_files *files)
{
        for (size_t i = 0; i < files->n; i++)
                free(files->paths[i]);
        free(files->paths);
        *files = (struct conf_files){ 0 };
}

static void add(struct conf_files *files, const char *dir, size_t n_dir, const char *name)
{
        size_t n = strlen(name);
        char *path = must_alloc(n_dir + n + 2, 1);

        memcpy(path, dir, n_dir);
        if (n_dir > 0 && dir[n_dir - 1] != '/')
                path[n_dir++] = '/';
        memcpy(path + n_dir, name, n);
        MUST_GROW(files->paths, files->n, files->n_max);
        files->paths[files->n++] = path;
}

/* Hidden files are those of editors and package managers. */
static bool is_dropin(const char *name)
{
        size_t n = strlen(name), suffix = strlen(DROPIN_SUFFIX);

        return name[0] != '.' && n > suffix && strcmp(name + n - suffix, DROPIN_SUFFIX) == 0;
}

static int compare(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static void closedirp(DIR **dir)
{
        if (*dir)
                (void)closedir(*dir); /* only read from */
}

static int add_dropins(const char *path, struct conf_files *files, struct conf_complaint *complaint)
{
        _cleanup_(closedirp)
        DIR *dir = opendir(path);
        const struct dirent *entry;

        if (!dir && errno == ENOENT)
                return 0;
        while (dir) {
                errno = 0;
                entry = readdir(dir);
                if (!entry)
                        break;
                if (!is_dropin(entry->d_name))
                        continue;
                if (files->n == CONF_FILES_MAX) {
                        (void)complain(complaint, path, 0, "more than %d files", CONF_FILES_MAX);
                        return -E2BIG;
                }
                add(files, path, strlen(path), entry->d_name);
        }
        if (errno != 0) {
                int error = errno;

                (void)complain(complaint, path, 0, "cannot read the directory: %s",
                               strerror(error));
                return -error;
        }
        qsort(files->paths + 1, files->n - 1, sizeof(*files->paths), compare);
        return 0;
}

int conf_files_find(const char *path, struct conf_files *ret, struct conf_complaint *ret_complaint)
{
        const char *slash = strrchr(path, '/');
        size_t n_dir = slash ? (size_t)(slash + 1 - path) : 0;
        struct conf_files dropins = { 0 };
        int r;

        add(ret, "", 0, path);
        add(&dropins, path, n_dir, DROPIN_DIR);
        r = add_dropins(dropins.paths[0], ret, ret_complaint);
        conf_files_done(&dropins);
        return r;
}
