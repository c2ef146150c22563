/* A Modbus server that shares no code with the driver: libmodbus.
 *
 *   libmodbus_server tcp              listens on 127.0.0.1, prints its port
 *   libmodbus_server rtu DEVICE UNIT  serves one unit on a serial line, prints 0
 *
 * Before it serves it reads lines from stdin: "TABLE ADDRESS VALUE" (TABLE one of c d h i) sets a value, "size N"
 * comes first and gives every table the addresses 0 to N - 1, "serve" ends them. Runs until killed.
 */
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static modbus_mapping_t *read_map(void)
{
    char line[128], table;
    unsigned address, value, size;
    if (!fgets(line, sizeof line, stdin) || sscanf(line, "size %u", &size) != 1)
        return NULL;
    modbus_mapping_t *map = modbus_mapping_new(size, size, size, size);
    while (map && fgets(line, sizeof line, stdin) && strncmp(line, "serve", 5) != 0) {
        if (sscanf(line, "%c %u %u", &table, &address, &value) != 3 || address >= size)
            return NULL;
        switch (table) {
        case 'c': map->tab_bits[address] = value; break;
        case 'd': map->tab_input_bits[address] = value; break;
        case 'h': map->tab_registers[address] = value; break;
        case 'i': map->tab_input_registers[address] = value; break;
        default: return NULL;
        }
    }
    return map;
}

static void serve(modbus_t *context, modbus_mapping_t *map)
{
    uint8_t query[MODBUS_MAX_ADU_LENGTH];
    for (;;) {
        int length = modbus_receive(context, query);
        if (length > 0)
            modbus_reply(context, query, length, map);
        else if (length < 0 && modbus_get_socket(context) >= 0 && errno != EMBBADCRC && errno != ETIMEDOUT)
            return;
    }
}

int main(int argc, char **argv)
{
    int tcp = argc == 2 && strcmp(argv[1], "tcp") == 0;
    if (!tcp && !(argc == 4 && strcmp(argv[1], "rtu") == 0))
        return 2;
    modbus_mapping_t *map = read_map();
    if (!map)
        return 3;
    modbus_t *context = tcp ? modbus_new_tcp("127.0.0.1", 0) : modbus_new_rtu(argv[2], 115200, 'N', 8, 1);
    if (!context)
        return 4;
    if (!tcp) {
        /* libmodbus waits this long for the answer of another unit before it listens for requests again. */
        if (modbus_set_response_timeout(context, 0, 50000))
            return 5;
        if (modbus_set_slave(context, atoi(argv[3])) || modbus_connect(context))
            return 5;
        puts("0");
        fflush(stdout);
        serve(context, map);
        return 6;
    }
    int listener = modbus_tcp_listen(context, 1);
    struct sockaddr_in bound;
    socklen_t length = sizeof bound;
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&bound, &length))
        return 7;
    printf("%d\n", ntohs(bound.sin_port));
    fflush(stdout);
    for (;;) {
        if (modbus_tcp_accept(context, &listener) < 0)
            return 8;
        serve(context, map);
        modbus_close(context);
    }
}
