internal import HeadraceCore

/// The program that normalises images on a CUDA device, as text in NVIDIA's PTX language, which the driver translates
/// for whatever device is there: nothing of CUDA is needed to build it.
///
/// One thread makes one pixel of all channels. Loads and stores of neighbouring threads are neighbours in
/// channels-first images, and within a cache line of each other otherwise.
enum NormalizationKernel {
    static let threadsPerBlock = 256

    /// Parameters as they lie in memory, and where each begins.
    struct Parameters {
        var source: UInt64
        var target: UInt64
        var coefficients: UInt64
        /// Pixels of all rows.
        var total: UInt64
        /// Pixels of a row.
        var pixels: UInt64
        var channels: UInt64
        /// 1 where the source has the channels of a pixel beside each other.
        var channelsLast: UInt64

        static let offsets = (0..<7).map { $0 * 8 }
    }

    static func name(_ type: ElementType) -> String { "headrace_normalize_\(type.rawValue)" }

    /// The whole module: a function for each type that images can become.
    static var text: String {
        """
        .version 6.0
        .target sm_60
        .address_size 64

        \(function(.float32, store: "st.global.f32 [%rd12], %f3;"))
        \(function(.float16, store: "cvt.rn.f16.f32 %h1, %f3;\n    st.global.b16 [%rd12], %h1;"))
        \(function(.bfloat16, store: roundedToBFloat16))
        """
    }

    /// To the nearest, ties to even, by integers: the instruction for it is newer than the oldest devices. The numbers
    /// are finite, so no rounding carries into what is not a number.
    private static let roundedToBFloat16 = """
        mov.b32 %r3, %f3;
            shr.u32 %r4, %r3, 16;
            and.b32 %r4, %r4, 1;
            add.u32 %r3, %r3, 32767;
            add.u32 %r3, %r3, %r4;
            shr.u32 %r3, %r3, 16;
            cvt.u16.u32 %h1, %r3;
            st.global.b16 [%rd12], %h1;
        """

    private static func function(_ type: ElementType, store: String) -> String {
        """
        .visible .entry \(name(type))(
            .param .u64 source, .param .u64 target, .param .u64 coefficients, .param .u64 total,
            .param .u64 pixels, .param .u64 channels, .param .u64 channelsLast)
        {
            .reg .pred %p<4>;
            .reg .b16 %h<2>;
            .reg .b32 %r<8>;
            .reg .f32 %f<5>;
            .reg .b64 %rd<20>;
            ld.param.u64 %rd1, [source];
            ld.param.u64 %rd2, [target];
            ld.param.u64 %rd3, [coefficients];
            ld.param.u64 %rd4, [total];
            ld.param.u64 %rd5, [pixels];
            ld.param.u64 %rd6, [channels];
            ld.param.u64 %rd7, [channelsLast];
            cvta.to.global.u64 %rd1, %rd1;
            cvta.to.global.u64 %rd2, %rd2;
            cvta.to.global.u64 %rd3, %rd3;
            mov.u32 %r1, %ctaid.x;
            mov.u32 %r2, %tid.x;
            mul.wide.u32 %rd8, %r1, \(threadsPerBlock);
            cvt.u64.u32 %rd9, %r2;
            add.u64 %rd8, %rd8, %rd9;
            setp.ge.u64 %p1, %rd8, %rd4;
            @%p1 bra done;
            // %rd9: row; %rd10: pixel in the row; %rd11: first element of the row.
            div.u64 %rd9, %rd8, %rd5;
            mul.lo.u64 %rd10, %rd9, %rd5;
            sub.u64 %rd10, %rd8, %rd10;
            mul.lo.u64 %rd11, %rd9, %rd5;
            mul.lo.u64 %rd11, %rd11, %rd6;
            // %rd13: source of the pixel's channel 0, %rd14: step to the next; %rd12, %rd15: the target's.
            setp.ne.u64 %p2, %rd7, 0;
            mul.lo.u64 %rd13, %rd10, %rd6;
            selp.b64 %rd13, %rd13, %rd10, %p2;
            selp.b64 %rd14, 1, %rd5, %p2;
            add.u64 %rd13, %rd13, %rd11;
            add.u64 %rd13, %rd13, %rd1;
            add.u64 %rd12, %rd11, %rd10;
            mul.lo.u64 %rd12, %rd12, \(type.byteCount);
            add.u64 %rd12, %rd12, %rd2;
            mul.lo.u64 %rd15, %rd5, \(type.byteCount);
            mov.u64 %rd16, 0;
        channel:
            ld.global.u8 %r5, [%rd13];
            cvt.rn.f32.u32 %f1, %r5;
            ld.global.f32 %f2, [%rd3];
            ld.global.f32 %f4, [%rd3+4];
            fma.rn.f32 %f3, %f1, %f2, %f4;
            \(store)
            add.u64 %rd13, %rd13, %rd14;
            add.u64 %rd12, %rd12, %rd15;
            add.u64 %rd3, %rd3, 8;
            add.u64 %rd16, %rd16, 1;
            setp.lt.u64 %p3, %rd16, %rd6;
            @%p3 bra channel;
        done:
            ret;
        }

        """
    }
}
