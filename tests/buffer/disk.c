/* A disk that fails on command, and one that is listened to: LD_PRELOAD this.
 *
 * $DISK_FAULTS names a file of three times three numbers, 64 bits each, that may be changed at any time: for reading,
 * writing and syncing an inode, and between which offsets it ends in EIO. $DISK_RECORD names a file that gets what happens to the files in the directory
 * $DISK_DIRECTORY, in order: a line "kind name inode offset length", followed by so many bytes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ, WRITE, SYNC };

struct fault { uint64_t inode, first, end; };

static const volatile struct fault no_faults[3];
static const volatile struct fault *faults = no_faults;
static const char *directory;
static FILE *record;
static pthread_mutex_t one_at_a_time = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) \
        real = (result (*)(__VA_ARGS__)) dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void begin(void)
{
    const char *control = getenv("DISK_FAULTS"), *path = getenv("DISK_RECORD");
    int fd = control ? open(control, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        faults = mmap(NULL, sizeof no_faults, PROT_READ, MAP_SHARED, fd, 0);
        if (faults == MAP_FAILED)
            abort();
        close(fd);
    }
    FILE *opened = path ? fopen(path, "we") : NULL;
    directory = getenv("DISK_DIRECTORY");
    record = opened;
}

/* The name within the directory, "." for the directory itself, or NULL for what is elsewhere. */
static const char *within(const char *path)
{
    size_t length = record ? strlen(directory) : 0;
    if (!record || strncmp(path, directory, length))
        return NULL;
    return path[length] == '/' ? path + length + 1 : path[length] ? NULL : ".";
}

static void note(const char *kind, const char *name, uint64_t inode, int64_t offset, const void *data, size_t length)
{
    fprintf(record, "%s %s %llu %lld %zu\n", kind, name, (unsigned long long) inode, (long long) offset, length);
    fwrite(data, 1, length, record);
    fflush(record);
}

static void note_fd(const char *kind, int fd, int64_t offset, const void *data, size_t length)
{
    char link[64], path[4096];
    struct stat about;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = record ? readlink(link, path, sizeof path - 1) : -1;
    if (size < 0)
        return;
    path[size] = 0;
    char *deleted = strstr(path, " (deleted)");
    if (deleted)
        *deleted = 0;
    const char *name = within(path);
    if (name && !fstat(fd, &about))
        note(kind, name, about.st_ino, offset, data, length);
}

static int fails(int fd, int how, uint64_t offset, uint64_t length)
{
    struct stat about;
    const volatile struct fault *fault = &faults[how];
    if (!fault->inode || offset >= fault->end || offset + length <= fault->first)
        return 0;
    if (fstat(fd, &about) || about.st_ino != fault->inode)
        return 0;
    errno = EIO;
    return 1;
}

#define ONE_AT_A_TIME(statement) \
    do { \
        pthread_mutex_lock(&one_at_a_time); \
        int error = errno; \
        statement; \
        error = errno; \
        pthread_mutex_unlock(&one_at_a_time); \
        errno = error; \
    } while (0)

ssize_t pread64(int fd, void *data, size_t length, off64_t offset)
{
    REAL(ssize_t, "pread64", int, void *, size_t, off64_t);
    return fails(fd, READ, offset, length) ? -1 : real(fd, data, length, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    ssize_t written;
    if (fails(fd, WRITE, offset, length))
        return -1;
    ONE_AT_A_TIME({
        written = real(fd, data, length, offset);
        if (written > 0)
            note_fd("write", fd, offset, data, written);
    });
    return written;
}

ssize_t write(int fd, const void *data, size_t length)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    ssize_t written;
    if (!record || fd == fileno(record))
        return real(fd, data, length);
    ONE_AT_A_TIME({
        off64_t offset = lseek64(fd, 0, SEEK_CUR);
        written = real(fd, data, length);
        if (written > 0 && offset >= 0)
            note_fd("write", fd, offset, data, written);
    });
    return written;
}

int ftruncate64(int fd, off64_t length)
{
    REAL(int, "ftruncate64", int, off64_t);
    int result;
    ONE_AT_A_TIME({
        result = real(fd, length);
        if (!result)
            note_fd("truncate", fd, length, "", 0);
    });
    return result;
}

static int sync_fd(int fd, int (*real)(int))
{
    int result;
    if (fails(fd, SYNC, 0, UINT64_MAX))
        return -1;
    ONE_AT_A_TIME({
        result = real(fd);
        if (!result)
            note_fd("sync", fd, 0, "", 0);
    });
    return result;
}

int fsync(int fd)
{
    REAL(int, "fsync", int);
    return sync_fd(fd, real);
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int);
    return sync_fd(fd, real);
}

int open64(const char *path, int flags, ...)
{
    REAL(int, "open64", const char *, int, ...);
    va_list rest;
    va_start(rest, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0, fd;
    va_end(rest);
    if (!(flags & O_CREAT) || !within(path))
        return real(path, flags, mode);
    ONE_AT_A_TIME({
        int is_new = access(path, F_OK);
        fd = real(path, flags, mode);
        if (is_new && fd >= 0)
            note_fd("create", fd, 0, "", 0);
    });
    return fd;
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    int result;
    ONE_AT_A_TIME({
        result = real(path);
        if (!result && within(path))
            note("unlink", within(path), 0, 0, "", 0);
    });
    return result;
}

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    int result;
    ONE_AT_A_TIME({
        result = real(from, to);
        if (!result && within(from) && within(to))
            note("rename", within(from), 0, 0, within(to), strlen(within(to)));
    });
    return result;
}
