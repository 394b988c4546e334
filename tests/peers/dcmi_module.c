/* DCMI's Get Power Reading (DCMI 1.5, 6.6.1) for OpenIPMI's ipmi_sim, which has no DCMI of its own: a module that it loads.
 * Power in W is the number in the file that the module is given; a negative number is sent as its 16 bits. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef void (*handler_f)(void *mc, void *msg, unsigned char *rdata, unsigned int *rdata_len, void *data);
void ipmi_emu_register_group_extension_handler(uint8_t group, handler_f handler, void *data);

static char path[1024];

static void power_reading(void *mc, void *msg, unsigned char *rdata, unsigned int *rdata_len, void *data) {
    (void)mc, (void)msg, (void)data;
    int watts = 0;
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%d", &watts) != 1) watts = 0;
    if (file) fclose(file);
    memset(rdata, 0, 19);
    rdata[1] = 0xdc;
    for (int at = 2; at <= 8; at += 2) { /* now, least, most, average */
        rdata[at] = (unsigned char)(watts & 0xff);
        rdata[at + 1] = (unsigned char)(watts >> 8 & 0xff);
    }
    rdata[14] = 0xe8, rdata[15] = 0x03; /* sampling period: 1,000 ms */
    rdata[18] = 0x40; /* the measurement is active */
    *rdata_len = 19;
}

int ipmi_sim_module_init(void *sys, const char *initstr) {
    (void)sys;
    snprintf(path, sizeof path, "%s", initstr);
    ipmi_emu_register_group_extension_handler(0xdc, power_reading, NULL);
    return 0;
}
