//! The driver layer against the stand-in libraries of kernels/host. They are found by dlopen, so each test starts this
//! executable once more, with their folder on LD_LIBRARY_PATH.
use std::cell::Cell;
use std::collections::HashSet;
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use vae_gpu::arena::{Layout, View};
use vae_gpu::config::{Activation, Binarize, Model, Numbers, Optimizer, Rule};
use vae_gpu::data::{Dataset, Sparse, Values};
use vae_gpu::device::Device;
use vae_gpu::device::cuda::{Algorithms, Cuda, detect, libraries};
use vae_gpu::device::driver::{Driver, Epilogue, Factor, Grid, Precision, Product, Resident, Stored};
use vae_gpu::device::kernels::{self, In, In16, InAny, LAYERS, Layer, Layers, Out, Out16};
use vae_gpu::model::Network;
use vae_gpu::rng;
use vae_gpu::step::Step;
use vae_gpu::{Error, Result};

/// What the helper process does, from its environment.
const SCENARIO: &str = "STAND_IN_SCENARIO";

struct Outcome {
    success: bool,
    /// What the scenario gave, a number or a sentence a line.
    lines: Vec<String>,
    stderr: String,
    /// The names of all calls to the driver and cuBLAS, in order.
    trace: Vec<String>,
}

fn stand_in(scenario: &str, env: &[(&str, &str)]) -> Outcome {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let trace = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("standin-{}-{number}", std::process::id()));
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "driver::helper", "--nocapture", "--test-threads=1"]);
    command.env("LD_LIBRARY_PATH", concat!(env!("OUT_DIR"), "/stand_in")).env_remove("VAE_GPU_CUDA_LIBS");
    command.env(SCENARIO, scenario).env("STAND_IN_TRACE", &trace).envs(env.iter().copied());
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let calls = std::fs::read_to_string(&trace).unwrap_or_default();
    let _ = std::fs::remove_file(&trace);
    Outcome {
        success: output.status.success(),
        lines: stdout.lines().filter_map(|line| line.split_once("> ")).map(|(_, rest)| rest.to_string()).collect(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        trace: calls.lines().map(String::from).collect(),
    }
}

/// Not a test: the other process.
#[test]
fn helper() {
    let Ok(scenario) = env::var(SCENARIO) else { return };
    let mut say = |line: String| println!("\n> {line}");
    let failed = |why: Error| format!("error {}: {why}", why.exit_code());
    let result = match scenario.as_str() {
        "fp32" => products(Precision::Fp32, &mut say),
        "tf32" => products(Precision::Tf32, &mut say),
        "bf16" => products(Precision::Bf16, &mut say),
        "twice" => {
            if let Err(why) = products(Precision::Fp32, &mut say) {
                say(failed(why));
            }
            products(Precision::Fp32, &mut say)
        }
        "report" => {
            detect::Report::look().to_string().lines().for_each(|line| say(line.into()));
            Ok(())
        }
        "train fp32" => train("cuda", Numbers::Fp32, Stored::Bytes, &mut say),
        "train sparse" => train("cuda", Numbers::Fp32, Stored::Sparse, &mut say),
        "train tf32" => train("cuda", Numbers::Tf32, Stored::Bytes, &mut say),
        "train bf16" => train("cuda", Numbers::Bf16, Stored::Bytes, &mut say),
        "train auto" => train("auto", Numbers::Bf16, Stored::Bytes, &mut say),
        "small" => Cuda::new(0, &small(), Precision::Fp32).map(drop),
        "ordinal" => Cuda::new(1, &small(), Precision::Fp32).map(drop),
        "turns" => turns(&mut say),
        "clusters" => Cuda::new(0, &small(), Precision::Tf32)
            .map(|cuda| cuda.clusters("stack_tf32", 512).iter().for_each(|cluster| say(format!("{cluster:?}")))),
        _ => panic!("no scenario {scenario}"),
    };
    if let Err(why) = result {
        say(failed(why));
    }
}

fn small() -> Layout {
    let mut layout = Layout::training();
    layout.activation(3, 5);
    layout
}

/// One thread captures while another opens a GPU, multiplies there and closes it.
fn turns(say: &mut impl FnMut(String)) -> Result<()> {
    let mut layout = Layout::training();
    let (weight, x, y) = (layout.weight(33, 17), layout.activation(5, 17), layout.activation(5, 33));
    let product = Product { c: y, a: Factor::N(x), b: Factor::T(weight), epilogue: Epilogue::None };
    let mut cuda = Cuda::new(0, &layout, Precision::Fp32)?;
    cuda.product(&product)?;
    let (layout, product) = (&layout, &product);
    std::thread::scope(|scope| {
        cuda.begin_capture()?;
        let other = scope.spawn(move || {
            let mut other = Cuda::new(0, layout, Precision::Fp32)?;
            other.product(product)?;
            drop(other);
            Ok(())
        });
        std::thread::sleep(std::time::Duration::from_millis(200));
        say(if other.is_finished() { "at once" } else { "waits" }.into());
        cuda.product(product)?;
        cuda.end_capture()?;
        other.join().expect("it does not panic")?;
        cuda.replay(1)
    })?;
    say("captured".into());
    Ok(())
}

/// The driver invalidates a capture when another thread of the process waits for the whole GPU.
#[test]
fn no_thread_waits_for_the_gpu_while_another_captures() {
    let ended = stand_in("turns", &[]);
    assert!(ended.success, "{}", ended.stderr);
    assert_eq!(ended.lines, ["waits", "captured"]);
}

/// Rounded to bf16, ties to even.
fn bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// The three products of a layer, launched, captured and replayed, against plain loops in f64.
fn products(precision: Precision, say: &mut impl FnMut(String)) -> Result<()> {
    let mut layout = Layout::training();
    let (weight, bias) = (layout.weight(33, 17), layout.parameter(1, 33));
    let (x, y) = (layout.activation(5, 17), layout.activation(5, 33));
    let (dx, dy, dweight) = (layout.d(x), layout.d(y), layout.d(weight));
    let mut cuda = Cuda::new(0, &layout, precision)?;
    if env::var_os("STAND_IN_TIMED").is_some() {
        cuda.choose(Algorithms::Fastest);
    }

    let value =
        |v: View, i: usize| (rng::philox([i as u32, v.offset as u32, 0, 0], [1, 2])[0] >> 8) as f32 / 16e6 - 0.5;
    for v in [weight, bias, x, dy] {
        for row in 0..v.rows {
            let values: Vec<f32> = (0..v.cols).map(|col| value(v, row * v.cols + col)).collect();
            cuda.upload(v.at(row, 0), &values)?;
        }
        if precision == Precision::Bf16 {
            kernels::cast(&mut cuda, Grid::new([1, 1], 64), Out16(v), In(v))?;
        }
    }
    let step = [
        (Product { c: y, a: Factor::N(x), b: Factor::T(weight), epilogue: Epilogue::BiasRelu(bias) }, "forward"),
        (Product { c: dx, a: Factor::N(dy), b: Factor::N(weight), epilogue: Epilogue::None }, "data"),
        (Product { c: dweight, a: Factor::T(dy), b: Factor::N(x), epilogue: Epilogue::None }, "weights"),
    ];
    let operand = |v: View, row: usize, col: usize| {
        let x = value(v, row * v.cols + col);
        f64::from(if precision == Precision::Bf16 { bf16(x) } else { x })
    };
    let at = |f: Factor, row: usize, col: usize| match f {
        Factor::N(v) => operand(v, row, col),
        Factor::T(v) => operand(v, col, row),
    };
    let apart = Cell::new(false); // the caller was told to take the epilogue apart
    let run = |cuda: &mut Cuda| -> Result<()> {
        for (product, name) in &step {
            if *name == "weights" {
                cuda.branch()?;
            }
            if !cuda.product(product)? {
                apart.set(true);
                let Product { c, a, b, .. } = *product;
                if !cuda.product(&Product { epilogue: Epilogue::None, ..*product })? {
                    let grid =
                        |rows, cols| Grid::new([c.cols.div_ceil(cols) as u32, c.rows.div_ceil(rows) as u32], 512);
                    let (c, c16, none) = (Out(c), Out16(View { rows: 0, ..c }), View { rows: 0, ..c });
                    let whole = |f: Factor| View { cols: f.view().stride, ..f.view() };
                    let (a_in, b_in) = (InAny::F32(whole(a)), InAny::F32(whole(b)));
                    let (bias, pre) = (In(none), Out(none));
                    match (a, b) {
                        (Factor::T(_), _) => {
                            let (dw, dbias, dy16) = (pre, pre, In16(none));
                            let nothing = Layer { dw, dbias, dy: bias, dy16, x: InAny::F32(none) };
                            let mut layers = [nothing; LAYERS];
                            layers[0] = Layer { dw: c, dy: In(whole(a)), x: b_in, ..nothing };
                            kernels::product_tn(cuda, Grid::new([1, 1], 512), &Layers(layers))?
                        }
                        (_, Factor::T(_)) => {
                            kernels::product_nt(cuda, grid(32, 16), c, c16, pre, a_in, b_in, bias, bias, 0)?
                        }
                        _ => kernels::product_nn(cuda, grid(32, 16), c, c16, pre, a_in, b_in, bias, bias, 0)?,
                    }
                }
            }
        }
        cuda.trunk();
        cuda.join()
    };
    let check = |cuda: &mut Cuda| -> Result<()> {
        for (Product { c, a, b, epilogue }, name) in &step {
            let got = cuda.download(c.padded())?;
            for (i, &got) in got.iter().enumerate() {
                let (row, col) = (i / c.stride, i % c.stride);
                let mut want = 0.0;
                if col < c.cols {
                    want = (0..a.shape().1).map(|k| at(*a, row, k) * at(*b, k, col)).sum();
                    if let Epilogue::BiasRelu(bias) = epilogue
                        && !apart.get()
                    {
                        want = (want + f64::from(value(*bias, col))).max(0.0);
                    }
                }
                // f32 sums of at most 33 products of numbers below 0.5
                assert!((f64::from(got) - want).abs() < 1e-6, "{name} ({row}, {col}): got {got}, want {want}");
            }
        }
        Ok(())
    };

    cuda.load(&Resident::new(&Dataset::new("made up", 4, Values::Bytes(vec![7; 12]))))?;
    cuda.write_plan(0, &[1; 8])?;
    let ms = cuda.time(run)?;
    assert!(ms >= 0.0);
    check(&mut cuda)?;
    // Replays compute it anew.
    cuda.begin_capture()?;
    assert!(cuda.download(0..1).is_err() && cuda.upload(0, &[0.0]).is_err() && cuda.mark().is_err());
    let recorded = cuda.zero(y.padded()).and_then(|()| run(&mut cuda));
    let ended = cuda.end_capture();
    recorded.and(ended)?;
    let clears = if precision == Precision::Bf16 { 2 } else { 1 }; // bf16 has a second arena
    assert_eq!(cuda.captured()?, clears + step.len());
    cuda.zero(dx.padded())?;
    cuda.zero(dweight.padded())?;
    cuda.replay(3)?;
    check(&mut cuda)?;
    cuda.copy(dx.offset, x.offset, x.padded().len())?;
    assert_eq!(cuda.download(dx.padded())?, cuda.download(x.padded())?);
    cuda.forget();
    assert!(cuda.replay(1).is_err() && cuda.captured().is_err());
    say(if apart.get() { "done, without epilogue" } else { "done" }.into());
    Ok(())
}

/// Trains on a device, and says every number that is left: metrics of each step, parameters, their gradients.
fn train(choice: &str, numbers: Numbers, stored: Stored, say: &mut impl FnMut(String)) -> Result<()> {
    // Relu takes the epilogue; no size is a multiple of 8.
    let model = Model { activation: Activation::Relu, ..Model::new(17, &[33], 3) };
    let (batch, rows) = (5, 13);
    let network = Network::training(&model, batch, Binarize::None);
    let (device, notes) = Device::find(choice, numbers)?;
    notes.into_iter().for_each(&mut *say);
    let mut backend = device.open(network.layout(), batch)?;
    let numbers_of = |n: usize| (0..n).map(|i| (i * 7919 % 251) as u8);
    let values = match stored {
        Stored::Sparse => {
            // Five of each row, and of every third none.
            let row = |i: usize| (0..if i.is_multiple_of(3) { 0 } else { 5 }).map(move |n| (3 * n + i % 5) as u32);
            let starts = (0..=rows).map(|end| (0..end).map(|i| row(i).len() as u64).sum()).collect();
            let columns: Vec<u32> = (0..rows).flat_map(row).collect();
            let entries = numbers_of(columns.len()).map(|b| b as f32 / 255.0).collect();
            Values::Sparse(Sparse::new("made up", model.input, starts, columns, entries)?)
        }
        _ => Values::Bytes(numbers_of(rows * model.input).collect()),
    };
    let data = Dataset::new("made up", model.input, values);
    backend.load(&Arc::new(data))?;
    for p in &network.parameters {
        let values: Vec<f64> =
            (0..p.view.elements()).map(|i| ((i * 31 + p.view.offset) % 97) as f64 / 485.0 - 0.1).collect();
        backend.write(p.view, &values)?;
    }
    let optimizer = Optimizer { lr: 0.1, ..Optimizer::new(Rule::Sgd) };
    let steps: Vec<Step> = (0..6)
        .map(|index| Step {
            index,
            epoch: index / 3,
            position: index % 3 * batch as u32,
            rows: [5, 5, 3][index as usize % 3],
            slot: index,
            lr: optimizer.lr,
            ..Step::batch(7, batch)
        })
        .collect();
    backend.train(&network.tape, &optimizer, &steps[..4])?;
    backend.train(&network.tape, &optimizer, &steps[4..])?;
    let layout = network.layout();
    let mut numbers = backend.read(layout.metrics().slice(0..steps.len()))?;
    for p in &network.parameters {
        numbers.extend(backend.read(p.view)?);
        numbers.extend(backend.read(layout.d(p.view))?);
    }
    numbers.iter().for_each(|x| say(x.to_string()));
    Ok(())
}

#[test]
fn products_agree_with_plain_loops_launched_and_replayed() {
    for (precision, epilogues) in
        [("fp32", None), ("tf32", None), ("bf16", None), ("fp32", Some("0")), ("bf16", Some("0"))]
    {
        let env: Vec<_> = epilogues.map(|e| ("STAND_IN_EPILOGUES", e)).into_iter().collect();
        let o = stand_in(precision, &env);
        assert!(o.success, "{precision}: {}", o.stderr);
        let want: &[&str] = if epilogues.is_some() { &["done, without epilogue"] } else { &["done"] };
        assert_eq!(o.lines, want, "{precision}");
        let products: Vec<_> = o.trace.iter().filter(|call| *call == "cublasLtMatmul").collect();
        assert_eq!(products.len(), 6, "one call a product, launched and captured");
        let searches: Vec<_> = o.trace.iter().filter(|call| *call == "cublasLtMatmulAlgoGetHeuristic").collect();
        assert_eq!(searches.len(), if epilogues.is_some() { 4 } else { 3 }, "one search a product, answered or not");
    }
}

#[test]
fn training_gives_the_numbers_of_the_cpu() {
    let on_the_cpu = |stored| {
        let mut said: Vec<f64> = vec![];
        train("cpu", Numbers::F64, stored, &mut |line| said.push(line.parse().unwrap())).unwrap();
        said
    };
    let (whole, sparse) = (on_the_cpu(Stored::Bytes), on_the_cpu(Stored::Sparse));
    assert_ne!(whole, sparse);
    // sums in f32; operands with 10 or 8 bits, through six steps
    for (scenario, env, tolerance) in [
        ("train fp32", ("STAND_IN_EPILOGUES", "1"), 1e-6),
        ("train fp32", ("STAND_IN_EPILOGUES", "0"), 1e-6),
        ("train sparse", ("STAND_IN_EPILOGUES", "1"), 1e-6),
        ("train tf32", ("STAND_IN_EPILOGUES", "1"), 2e-3),
        ("train bf16", ("STAND_IN_EPILOGUES", "1"), 1e-2),
    ] {
        let want = if scenario == "train sparse" { &sparse } else { &whole };
        let scale = want.iter().fold(0.0, |a: f64, w| a.max(w.abs()));
        let o = stand_in(scenario, &[env]);
        assert!(o.success, "{scenario}: {}", o.stderr);
        let got: Vec<f64> = o.lines.iter().map(|line| line.parse().unwrap_or_else(|_| panic!("{line}"))).collect();
        assert_eq!(got.len(), want.len());
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!((g - w).abs() <= tolerance * scale, "{scenario} {env:?}: number {i}: got {g}, want {w}");
        }
        // One step is launched, one captured, and then a step is one call.
        let replays = o.trace.iter().filter(|call| *call == "cuGraphLaunch").count();
        assert_eq!(replays, 5);
        let second = o.trace.iter().rposition(|call| call == "cuMemcpyHtoDAsync_v2").unwrap();
        let calls = ["cuGraphLaunch", "cuGraphLaunch", "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize"];
        assert_eq!(o.trace[second + 1..second + 5], calls, "the plan is written, and two steps replayed");
    }
}

#[test]
fn auto_falls_back_to_the_cpu_and_says_so() {
    let o = stand_in("train auto", &[("STAND_IN_DEVICES", "0")]);
    assert!(o.success, "{}", o.stderr);
    assert_eq!(o.lines[0], "a CUDA driver, but no GPU; running on the CPU, in fp32");
    let numbers = o.lines[1..].iter().filter(|line| line.parse::<f64>().is_ok_and(f64::is_finite)).count();
    assert_eq!(numbers, o.lines.len() - 1);
}

#[test]
fn algorithms_can_be_timed() {
    let o = stand_in("fp32", &[("STAND_IN_TIMED", "1")]);
    assert!(o.success && o.lines == ["done"], "{}", o.stderr);
    assert!(o.trace.iter().filter(|call| *call == "cublasLtMatmul").count() > 30);
}

#[test]
fn without_cublas_our_own_kernel_multiplies_and_says_so_once() {
    let old = ("STAND_IN_CUBLAS", "110900");
    let o = stand_in("fp32", &[old]);
    assert_eq!(o.lines, ["done, without epilogue"], "{}", o.stderr);
    assert_eq!(o.trace.iter().filter(|call| *call == "cuLaunchKernelEx").count(), 6);
    let (with, without) = (stand_in("train fp32", &[]), stand_in("train fp32", &[old]));
    assert_eq!(
        without.lines[0],
        "cuBLAS 11 does not go with a driver that speaks CUDA 13.0: pip install nvidia-cublas, and name its folder in \
         VAE_GPU_CUDA_LIBS; matrix products run on our own, slower kernels"
    );
    assert_eq!(with.lines.len(), without.lines.len() - 1);
    for (w, g) in with.lines.iter().zip(&without.lines[1..]) {
        let [w, g] = [w, g].map(|line| line.parse::<f64>().unwrap());
        assert!((w - g).abs() < 1e-5, "got {g}, want {w}"); // f32, summed in another order
    }
}

/// Those that a GPU says it has room for; none where one older than Hopper has no clusters.
#[test]
fn clusters_are_as_large_as_the_driver_lets_them_be() {
    let of = |env: &[(&str, &str)]| stand_in("clusters", env).lines;
    assert_eq!(of(&[]), ["Cluster { blocks: 2, at_once: 66 }"]);
    let four = ["Cluster { blocks: 4, at_once: 33 }", "Cluster { blocks: 2, at_once: 66 }"];
    assert_eq!(of(&[("STAND_IN_CLUSTER", "4")]), four);
    assert!(of(&[("STAND_IN_CAPABILITY", "86")]).is_empty());
}

#[test]
fn a_replay_is_one_driver_call() {
    let o = stand_in("fp32", &[]);
    let first = o.trace.iter().position(|call| call == "cuGraphLaunch").unwrap();
    assert_eq!(
        o.trace[first..first + 5],
        ["cuGraphLaunch", "cuGraphLaunch", "cuGraphLaunch", "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize"]
    );
}

#[test]
fn detection_asks_for_every_call_the_program_makes() {
    let asked: HashSet<&str> = detect::DRIVER.iter().chain(libraries::CUBLAS).copied().collect();
    let mut made = HashSet::new();
    let fails = ["none:1:1", "cuMemAlloc_v2:1:2", "cuGraphLaunch:2:719"];
    for (scenario, fail) in
        [("bf16", fails[0]), ("report", fails[0]), ("clusters", fails[0]), ("fp32", fails[1]), ("fp32", fails[2])]
    {
        made.extend(stand_in(scenario, &[("STAND_IN_FAIL", fail), ("STAND_IN_TIMED", "1")]).trace);
    }
    for call in &made {
        assert!(asked.contains(call.as_str()), "{call} is called, and detection does not ask for it");
    }
    for call in asked {
        assert!(made.contains(call), "detection asks for {call}, which is never called");
    }
}

#[test]
fn what_is_missing_is_one_sentence() {
    let gib = (1u64 << 30).to_string();
    let room = format!(
        "error 1: there is no room for parameters and activations on the GPU: {} bytes are needed, 1000 are free",
        4 * small().total()
    );
    for (scenario, env, want) in [
        ("fp32", ("STAND_IN_DEVICES", "0"), "error 1: a CUDA driver, but no GPU"),
        (
            "fp32",
            ("STAND_IN_VERSION", "11080"),
            "error 1: the CUDA driver speaks CUDA 11.8: update it to 12.0 or later",
        ),
        (
            "fp32",
            ("STAND_IN_CAPABILITY", "75"),
            "error 1: GPU 0: Stand-in, compute capability 7.5, 132 multiprocessors, 4.0 GiB: compute capability 8.0 or \
             later is needed",
        ),
        ("ordinal", ("STAND_IN_MEMORY", &gib), "error 2: cuda:1: this machine has GPUs 0 to 0; pass cuda:0"),
        ("small", ("STAND_IN_MEMORY", "1000"), &room),
        ("fp32", ("STAND_IN_FAIL", "cublasLtCreate:1:1"), "error 1: cuBLAS does not start (cuBLAS status 1)"),
        ("fp32", ("STAND_IN_FAIL", "cuInit:1:100"), "error 1: a CUDA driver, but no GPU"),
        (
            "fp32",
            ("STAND_IN_FAIL", "cuInit:1:9999"),
            "error 1: the CUDA driver does not start: cuInit gives error 9999",
        ),
        (
            "fp32",
            ("STAND_IN_FAIL", "cuModuleGetFunction:1:500"),
            "error 1: this build has no GPU kernels: build it where nvcc is found, or with VAE_GPU_NVCC=fetch: as told (CUDA error 500)",
        ),
        ("fp32", ("STAND_IN_FAIL", "cublasLtMatmul:2:13"), "error 1: cuBLAS cannot multiply (cuBLAS status 13)"),
        (
            "fp32",
            ("STAND_IN_FAIL", "cuGraphLaunch:2:719"),
            "error 1: cannot replay the step: unspecified launch failure (CUDA error 719)",
        ),
    ] {
        let o = stand_in(scenario, &[env]);
        assert!(o.success, "{env:?}: {}", o.stderr);
        assert_eq!(o.lines, [want], "{env:?}");
    }
}

/// Opening a GPU makes a context and loads, or compiles, the kernels: the second time neither. After a failure that ends the
/// context both are made anew.
#[test]
fn a_gpu_is_opened_once_and_again_when_its_context_was_lost() {
    let loads = |o: &Outcome| o.trace.iter().filter(|call| *call == "cuModuleLoadData").count();
    let again = stand_in("twice", &[]);
    assert_eq!(
        (&again.lines[..], loads(&again)),
        (&["done".to_string(), "done".to_string()][..], 1),
        "{}",
        again.stderr
    );
    let lost = stand_in("twice", &[("STAND_IN_FAIL", "cuGraphLaunch:2:719")]);
    let want = ["error 1: cannot replay the step: unspecified launch failure (CUDA error 719)", "done"];
    assert_eq!((&lost.lines[..], loads(&lost)), (&want.map(String::from)[..], 2), "{}", lost.stderr);
}

/// Any call may say that a launch before it failed (719); those that make something, that there is no memory (2).
#[test]
fn a_failure_at_any_call_is_one_sentence() {
    let clean = stand_in("fp32", &[]);
    let makes = |call: &str| ["Alloc", "Load", "Create", "Instantiate"].iter().any(|word| call.contains(word));
    let mut without_memory = 0;
    for (n, call) in (1..).zip(&clean.trace) {
        let codes: &[i32] = if makes(call) { &[2, 719] } else { &[719] };
        without_memory += codes.len() - 1;
        for code in codes {
            let o = stand_in("fp32", &[("STAND_IN_FAIL", &format!("*:{n}:{code}"))]);
            assert!(o.success, "{call} (call {n}, code {code}): {}", o.stderr);
            let errors = o.lines.iter().filter(|line| line.starts_with("error ")).count();
            let last = o.lines.last().map(String::as_str);
            let done = last.is_some_and(|line| line.starts_with("done"));
            assert!(errors == 1 && !done || errors == 0 && done, "{call} (call {n}): {:?}", o.lines);
        }
    }
    assert!(without_memory > 5, "{without_memory} of {:?} make something", clean.trace);
}

#[test]
fn the_report_names_driver_devices_and_cublas() {
    let o = stand_in("report", &[("STAND_IN_DEVICES", "2")]);
    assert_eq!(o.lines[0], "CUDA driver: 13.0");
    assert_eq!(o.lines[2], "GPU 1: Stand-in, compute capability 9.0, 132 multiprocessors, 4.0 GiB");
    assert!(
        o.lines[3].starts_with("cuBLAS: 13.1.0 (") && o.lines[3].ends_with("/stand_in/libcublasLt.so.13)"),
        "{}",
        o.lines[3]
    );
}

#[test]
fn an_epilogue_that_was_offered_and_is_refused_is_taken_apart() {
    let o = stand_in("fp32", &[("STAND_IN_FAIL", "cublasLtMatmul:1:15")]);
    assert_eq!(o.lines, ["done, without epilogue"], "{}", o.stderr);
}
