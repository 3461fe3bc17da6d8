// The resident data set: rows × cols bytes, which stand for byte / 255, or f32.
#pragma once

struct Data {
    const void* values;
    int rows, cols, reals;

    // Four columns of an example, from any on; zero beyond the last.
    __device__ __forceinline__ float4 quad(unsigned row, int col) const {
        float4 x = {0.0f, 0.0f, 0.0f, 0.0f};
        const size_t at = (size_t)row * cols + col;
        const bool aligned = col + 4 <= cols && cols % 4 == 0 && col % 4 == 0;
        if (reals) {
            const float* p = static_cast<const float*>(values) + at;
            if (aligned) return *reinterpret_cast<const float4*>(p);
            x.x = p[0];
            if (col + 1 < cols) x.y = p[1];
            if (col + 2 < cols) x.z = p[2];
            if (col + 3 < cols) x.w = p[3];
            return x;
        }
        const unsigned char* p = static_cast<const unsigned char*>(values) + at;
        if (aligned) {
            const uchar4 b = *reinterpret_cast<const uchar4*>(p);
            return {b.x / 255.0f, b.y / 255.0f, b.z / 255.0f, b.w / 255.0f};
        }
        x.x = p[0] / 255.0f;
        if (col + 1 < cols) x.y = p[1] / 255.0f;
        if (col + 2 < cols) x.z = p[2] / 255.0f;
        if (col + 3 < cols) x.w = p[3] / 255.0f;
        return x;
    }
};
