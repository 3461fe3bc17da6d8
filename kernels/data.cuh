// The resident data set.
#pragma once

// rows × cols bytes, which stand for byte / 255, or f32; or entries of each row, all else being 0: where they begin, for each
// row and behind the last one, then their columns, ascending within a row, then their numbers.
struct Data {
    enum Stored { kBytes = 0, kReals = 1, kSparse = 2 };  // how its numbers lie in memory
    const void* values;
    int rows, cols, stored;

    // Four columns of an example, from any on, of rows that have few entries. The first is found by halving: the columns of a
    // row are few, and neighbours look at the same.
    __device__ __forceinline__ float4 entries(unsigned row, int col) const {
        const unsigned long long* starts = static_cast<const unsigned long long*>(values);
        const unsigned* columns = reinterpret_cast<const unsigned*>(starts + rows + 1);
        const float* numbers = reinterpret_cast<const float*>(columns + starts[rows]);
        columns += starts[row], numbers += starts[row];
        const unsigned count = (unsigned)(starts[row + 1] - starts[row]);
        unsigned low = 0, high = count;
        while (low < high) {
            const unsigned middle = (low + high) / 2;
            if (columns[middle] < (unsigned)col) low = middle + 1;
            else high = middle;
        }
        float4 x = {0.0f, 0.0f, 0.0f, 0.0f};
        for (; low < count; low++) {
            const unsigned at = columns[low] - (unsigned)col;
            if (at >= 4) break;
            const float number = numbers[low];
            if (at == 0) x.x = number;
            if (at == 1) x.y = number;
            if (at == 2) x.z = number;
            if (at == 3) x.w = number;
        }
        return x;
    }

    // Four columns of an example, from any on; zero beyond the last.
    __device__ __forceinline__ float4 quad(unsigned row, int col) const {
        if (stored == kSparse) return entries(row, col);
        float4 x = {0.0f, 0.0f, 0.0f, 0.0f};
        const size_t at = (size_t)row * cols + col;
        const bool aligned = col + 4 <= cols && cols % 4 == 0 && col % 4 == 0;
        if (stored == kReals) {
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
