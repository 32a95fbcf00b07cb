/* The limit of what a fork server can be: one byte on fd 3 asks for a child, which answers with one byte on fd 4. argv[1]: MiB of
   touched memory, whose page tables each fork copies. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  size_t mib = argc > 1 ? (size_t)atoi(argv[1]) : 0;
  char *memory = mib ? malloc(mib << 20) : NULL;
  if (memory) memset(memory, 1, mib << 20);
  signal(SIGCHLD, SIG_IGN);
  char byte = 'r';
  if (write(4, &byte, 1) != 1) return 1;
  while (read(3, &byte, 1) == 1) {
    if (fork() == 0) _exit(write(4, &byte, 1) == 1 ? 0 : 1);
  }
  return memory ? memory[0] - 1 : 0;
}
