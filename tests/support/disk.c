// A disk that fails, preloaded into the program. BROKEN_DISK says what fails, of files with this part in their name:
//   write:PART:BYTES  writing, after so many bytes          sync:PART, rename:PART  these calls
//   again:PART        writing, once the file was written, synced and renamed before
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int renamed;

static int is(const char* what, const char* name, long* bytes) {
    char call[16], part[64];
    const char* broken = getenv("BROKEN_DISK");
    *bytes = 0;
    return broken && sscanf(broken, "%15[^:]:%63[^:]:%ld", call, part, bytes) >= 2 && !strcmp(call, what) &&
           strstr(name, part);
}

static const char* name_of(int file) {
    static __thread char path[4096];
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    const char* name = strrchr(path, '/');
    return name ? name : path;
}

static int full(void) { return errno = ENOSPC, -1; }

ssize_t write(int file, const void* bytes, size_t n) {
    ssize_t (*real)(int, const void*, size_t) = dlsym(RTLD_NEXT, "write");
    long room;
    const char* name = name_of(file);
    if (is("again", name, &room) && renamed) return full();
    if (!is("write", name, &room)) return real(file, bytes, n);
    const off_t at = lseek(file, 0, SEEK_CUR);
    if (at >= room) return full();
    return real(file, bytes, at + (off_t)n > room ? (size_t)(room - at) : n);
}

int fsync(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    long none;
    return is("sync", name_of(file), &none) ? full() : real(file);
}

int rename(const char* from, const char* to) {
    int (*real)(const char*, const char*) = dlsym(RTLD_NEXT, "rename");
    const char* name = strrchr(to, '/') ? strrchr(to, '/') : to;
    long none;
    if (is("again", name, &none)) renamed = 1;
    return is("rename", name, &none) ? full() : real(from, to);
}
