/* Modbus TCP devices by libmodbus, which shares no code with the gateway: one port per device, many clients each.
 *
 * usage: libmodbus_fleet DEVICES REGISTERS
 * Prints one port a line, then serves until it is killed. Each read is answered with a new count: register i holds
 * (reads so far + i) mod 65536, so that a reader can tell a torn or mixed-up answer from a true one.
 */
#include <modbus/modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

struct device {
    modbus_mapping_t *map;
    unsigned reads;
};

int main(int argc, char **argv)
{
    int devices = argc == 3 ? atoi(argv[1]) : 0, registers = argc == 3 ? atoi(argv[2]) : 0;
    if (devices < 1 || devices > 400 || registers < 1 || registers > 125) {
        fprintf(stderr, "usage: libmodbus_fleet DEVICES(1-400) REGISTERS(1-125)\n");
        return 64;
    }
    struct device *fleet = calloc(devices, sizeof *fleet);
    int owner[FD_SETSIZE], listens[FD_SETSIZE];
    fd_set open_fds;
    FD_ZERO(&open_fds);
    modbus_t *ctx = modbus_new_tcp("127.0.0.1", 0);
    for (int n = 0; n < devices; n++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *) &address, size) || listen(fd, 8)
            || getsockname(fd, (struct sockaddr *) &address, &size)) {
            perror("libmodbus_fleet");
            return 71;
        }
        fleet[n].map = modbus_mapping_new(0, 0, registers, 0);
        owner[fd] = n, listens[fd] = 1;
        FD_SET(fd, &open_fds);
        printf("%d\n", ntohs(address.sin_port));
    }
    fflush(stdout);
    for (;;) {
        fd_set ready = open_fds;
        if (select(FD_SETSIZE, &ready, NULL, NULL, NULL) < 0)
            return 71;
        for (int fd = 0; fd < FD_SETSIZE; fd++) {
            if (!FD_ISSET(fd, &ready))
                continue;
            struct device *device = &fleet[owner[fd]];
            if (listens[fd]) {
                int client = accept(fd, NULL, NULL);
                if (client >= FD_SETSIZE)
                    close(client);
                else if (client >= 0) {
                    owner[client] = owner[fd], listens[client] = 0;
                    FD_SET(client, &open_fds);
                }
                continue;
            }
            uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
            modbus_set_socket(ctx, fd);
            int length = modbus_receive(ctx, query);
            if (length > 0) {
                device->reads++;
                for (int i = 0; i < registers; i++)
                    device->map->tab_registers[i] = (uint16_t) (device->reads + i);
                modbus_reply(ctx, query, length, device->map);
            } else if (length < 0) {
                FD_CLR(fd, &open_fds);
                close(fd);
            }
        }
    }
}
