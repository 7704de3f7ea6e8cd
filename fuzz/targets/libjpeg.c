/* Decodes a JPEG by the system's libjpeg-turbo (Debian: libjpeg62-turbo-dev, Ubuntu:
 * libjpeg-turbo8-dev), following its libjpeg.txt and example.c. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

struct errors {
    struct jpeg_error_mgr manager;
    jmp_buf escape;
};

static void fail(j_common_ptr info) { longjmp(((struct errors *)info->err)->escape, 1); }

static void count(j_common_ptr info, int level) {
    if (level < 0) info->err->num_warnings++;
}

/* Writes gray or RGB samples to `pixels`, which has room for `room`, and returns how many. 0 where
 * libjpeg has any complaint, where there is no room, and for four components. */
size_t libjpeg_decode(const unsigned char *bytes, size_t length, unsigned char *pixels, size_t room) {
    struct errors errors;
    struct jpeg_decompress_struct info;
    volatile size_t samples = 0;
    memset(&info, 0, sizeof info);
    info.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = fail;
    errors.manager.emit_message = count;
    if (setjmp(errors.escape) == 0) {
        jpeg_create_decompress(&info);
        jpeg_mem_src(&info, (unsigned char *)bytes, length);
        jpeg_read_header(&info, TRUE);
        size_t row = (size_t)info.image_width * info.num_components;
        if ((info.num_components == 1 || info.num_components == 3) && row * info.image_height <= room) {
            info.out_color_space = info.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
            jpeg_start_decompress(&info);
            while (info.output_scanline < info.output_height) {
                JSAMPROW line = pixels + row * info.output_scanline;
                jpeg_read_scanlines(&info, &line, 1);
            }
            jpeg_finish_decompress(&info);
            samples = row * info.image_height;
        }
    } else {
        samples = 0;
    }
    if (errors.manager.num_warnings != 0) samples = 0;
    jpeg_destroy_decompress(&info);
    return samples;
}
