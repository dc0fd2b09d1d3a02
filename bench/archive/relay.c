/* The least that a relay can cost: TLS in, SHA-256, TLS out, through one buffer. The yardstick of bench/archive.
   cc -O2 -o relay relay.c -lssl -lcrypto; relay SOURCE_PORT SINK_PORT BYTES */
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[256 << 10];

static SSL *dial(SSL_CTX *context, int port, const char *name) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int line = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(line, (struct sockaddr *)&address, sizeof address)) exit(1);
    SSL *spoken = SSL_new(context);
    SSL_set_tlsext_host_name(spoken, name);
    SSL_set_fd(spoken, line);
    if (SSL_connect(spoken) != 1) exit(2);
    return spoken;
}

int main(int count, char **words) {
    if (count != 4) return 64;
    long long bytes = atoll(words[3]), left = bytes;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *source = dial(context, atoi(words[1]), "video.example.com"), *sink = dial(context, atoi(words[2]), "localhost");
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    EVP_DigestInit_ex(digest, EVP_sha256(), NULL);
    int size = snprintf(buffer, sizeof buffer, "GET /%lld.mp4 HTTP/1.1\r\nHost: video.example.com\r\n\r\n", bytes);
    SSL_write(source, buffer, size);
    size = snprintf(buffer, sizeof buffer, "PUT /bench/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: %lld\r\n\r\n", bytes);
    SSL_write(sink, buffer, size);
    int got = SSL_read(source, buffer, sizeof buffer - 1);
    buffer[got] = 0;
    char *body = strstr(buffer, "\r\n\r\n") + 4;
    size = got - (int)(body - buffer);
    while (1) {
        EVP_DigestUpdate(digest, body, size);
        if (size && SSL_write(sink, body, size) != size) return 3;
        left -= size;
        if (left <= 0) break;
        body = buffer;
        for (size = 0; size < (int)sizeof buffer && size < left; size += got)
            if ((got = SSL_read(source, buffer + size, (int)sizeof buffer - size)) <= 0) return 4;
    }
    unsigned char sum[32];
    EVP_DigestFinal_ex(digest, sum, NULL);
    if (SSL_read(sink, buffer, sizeof buffer) <= 0) return 5;
    return strncmp(buffer, "HTTP/1.1 200", 12) ? 6 : 0;
}
