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

    // Four columns of an example, from any on, as they are stored: loads and nothing that waits for them. Zero beyond the
    // last. Of bytes, one word.
    __device__ __forceinline__ float4 load(unsigned row, int col) const {
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
            x.x = __uint_as_float(*reinterpret_cast<const unsigned*>(p));
            return x;
        }
        unsigned word = p[0];
        if (col + 1 < cols) word |= (unsigned)p[1] << 8;
        if (col + 2 < cols) word |= (unsigned)p[2] << 16;
        if (col + 3 < cols) word |= (unsigned)p[3] << 24;
        x.x = __uint_as_float(word);
        return x;
    }

    // The numbers that these are.
    __device__ __forceinline__ float4 numbers(const float4& x) const {
        if (stored != kBytes) return x;
        const unsigned word = __float_as_uint(x.x);
        return {of_byte(word & 255), of_byte(word >> 8 & 255), of_byte(word >> 16 & 255), of_byte(word >> 24)};
    }

    // byte / 255, rounded as a division is: the quotient, and once more what it leaves. A division is thrice as long.
    __device__ __forceinline__ static float of_byte(unsigned byte) {
        const float x = (float)byte, quotient = x * (1.0f / 255.0f);
        return fmaf(fmaf(-quotient, 255.0f, x), 1.0f / 255.0f, quotient);
    }
};
