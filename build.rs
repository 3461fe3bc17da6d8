//! Turns kernels/*.cu into typed Rust launchers (always), an image for the GPU (where nvcc is) and, for the tests,
//! the same kernels on the CPU: the emulator, and a stand-in CUDA driver around it.
//!
//! `VAE_GPU_NVCC=none` builds without a GPU image, `VAE_GPU_NVCC=fetch` fetches a pinned nvcc where none is found, as
//! is done by itself on a machine with an NVIDIA driver. `VAE_GPU_EMULATOR=none` leaves out what only tests need.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

#[path = "build/image.rs"]
mod image;
#[cfg(unix)]
#[path = "build/stand_in.rs"]
mod stand_in;

/// One `extern "C" __global__ void name(params)`: its parameters as (name, type in CUDA).
struct Kernel {
    name: String,
    params: Vec<(String, String)>,
    /// Of one `EACH_WAY(bounds) name(params)`, which stands for several: its launch bounds.
    each_way: Option<String>,
}

/// The parameters that are several arguments; of what kernels of a family call, `const Layers&`.
const LAYERS: &str = "const __grid_constant__ Layers";
const PHASES: &str = "const __grid_constant__ Phases";
/// The ways in which tensor cores multiply: of the `Operands` of kernels/tensor.cuh and of the enum `Way`, the names.
const WAYS: [&str; 4] = ["Tf32", "Bf16", "Split", "Half"];

fn main() {
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let out = env::var("OUT_DIR").unwrap();
    let mut files: Vec<_> = fs::read_dir("kernels").unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "cu"));
    files.sort();
    let (families, mut kernels): (Vec<_>, Vec<_>) =
        files.iter().flat_map(|f| scan(f)).partition(|k| k.each_way.is_some());
    kernels.extend(families.iter().flat_map(|f| WAYS.map(|way| f.of_way(way))));
    fs::write(format!("{out}/kernels.rs"), launchers(&kernels) + &choosers(&families)).unwrap();
    let include = |f: &PathBuf| format!("#include {:?}\n", f.file_name().unwrap());
    let source = files.iter().map(include).collect::<String>() + &families.iter().map(each_way).collect::<String>();
    fs::write(format!("{out}/kernels.cu"), source).unwrap();
    thread::scope(|s| {
        // Both take most of a minute.
        s.spawn(|| image::build(&out));
        if let Err(why) = emulator(&out, &kernels) {
            warn(&why);
            println!("cargo::warning=no emulator of the kernels: cargo test needs it, and a C++20 compiler (set CXX)");
        }
    });
}

/// Finds the kernels of a file. What a kernel may take is listed in `launchers`, and is little on purpose.
fn scan(path: &Path) -> Vec<Kernel> {
    let text = fs::read_to_string(path).unwrap();
    let kernel = |head: &str, each_way: bool| {
        let (head, body) = head.split_once('{').expect("a kernel has a body");
        let head = head.trim_end().strip_suffix(')').unwrap();
        // without it a kernel would read what the launch before has not written yet
        assert!(body.trim_start().starts_with("begin();"), "{head}): a kernel begins with begin()");
        let (name, params) = head.rsplit_once('(').expect("a kernel has parameters");
        let param = |p: &str| {
            let (ty, name) = p.trim().rsplit_once(' ').expect("a parameter has a type and a name");
            let of_kernel = match ty {
                "const Layers&" => LAYERS,
                "const Phases&" => PHASES,
                _ => ty,
            };
            (name.to_string(), of_kernel.to_string())
        };
        // The name is the last word: launch bounds may stand before it.
        let (bounds, name) = name.rsplit_once(' ').unwrap_or_default();
        let each_way = each_way.then(|| bounds.trim().strip_suffix(')').expect("bounds end").to_string());
        Kernel { name: name.to_string(), params: params.split(',').map(param).collect(), each_way }
    };
    let alone = text.split("extern \"C\" __global__ void").skip(1).map(|head| kernel(head, false));
    alone.chain(text.split("\nEACH_WAY(").skip(1).map(|head| kernel(head, true))).collect()
}

impl Kernel {
    /// Of a family, the kernel of one way of multiplying.
    fn of_way(&self, way: &str) -> Kernel {
        let name = format!("{}_{}", self.name, way.to_lowercase());
        Kernel { name, params: self.params.clone(), each_way: None }
    }
}

/// The kernels of a family, in CUDA.
fn each_way(family: &Kernel) -> String {
    let Kernel { name, params, each_way: bounds } = family;
    let typed: Vec<_> = params.iter().map(|(param, ty)| format!("{ty} {param}")).collect();
    let args: Vec<_> = params.iter().map(|(param, _)| param.as_str()).collect();
    let (bounds, typed, args) = (bounds.as_ref().unwrap(), typed.join(", "), args.join(", "));
    let kernel = |way: &str| {
        let kernel = &family.of_way(way).name;
        format!(
            "extern \"C\" __global__ void __launch_bounds__({bounds}) {kernel}({typed}) {{ {name}<{way}>({args}); }}\n"
        )
    };
    WAYS.map(kernel).concat()
}

/// For each family a function with its name, that gives the launcher of a way.
fn choosers(families: &[Kernel]) -> String {
    let chooser = |family: &Kernel| {
        let name = &family.name;
        let types: String = family
            .params
            .iter()
            .filter_map(|(param, ty)| taken(name, param, ty).0)
            .map(|ty| format!(", {ty}"))
            .collect();
        let arms = WAYS.map(|way| format!("        Way::{way} => {},\n", family.of_way(way).name)).concat();
        format!(
            "#[allow(clippy::type_complexity)]\npub fn {name}<D: Driver>(way: Way) -> fn(&mut D, Grid{types}) -> \
             crate::Result<()> {{\n    match way {{\n{arms}    }}\n}}\n"
        )
    };
    families.iter().map(chooser).collect()
}

/// What a launcher takes for a parameter, if anything, and what it hands to the driver.
fn taken<'a>(name: &str, param: &str, ty: &'a str) -> (Option<&'a str>, String) {
    match ty {
        LAYERS => (Some("&Layers"), format!("{param}.args()")),
        PHASES => (Some("&Phases"), format!("{param}.args()")),
        "In" | "Out" => (Some(ty), format!("Arg::View({param}.0)")),
        "In16" | "Out16" => (Some(ty), format!("Arg::View16({param}.0)")),
        "InAny" => (Some("InAny"), format!("{param}.arg()")),
        "int" => (Some("i32"), format!("Arg::U32({param} as u32)")),
        "unsigned" => (Some("u32"), format!("Arg::U32({param})")),
        "float" => (Some("f32"), format!("Arg::F32({param})")),
        "Data" => (None, "Arg::Data".into()),
        "const Step*" | "Plan*" | "const Plan*" => (None, "Arg::Plan".into()),
        _ => panic!("{name}: `{ty} {param}`: see kernels/README.md for what a kernel may take"),
    }
}

/// For each kernel a function with its name and parameters, so that rustc checks their number, order and types. The
/// data set and the plan are the device's own: there is one of each, and callers do not name them.
fn launchers(kernels: &[Kernel]) -> String {
    let launcher = |Kernel { name, params, .. }: &Kernel| {
        let (mut typed, mut args, mut before) = (String::new(), String::new(), None);
        for (param, ty) in params {
            let (rust, arg) = taken(name, param, ty);
            typed += &rust.map(|ty| format!(", {param}: {ty}")).unwrap_or_default();
            match ty.as_str() {
                // Several arguments, which stand between the others.
                LAYERS | PHASES => before = Some(format!("&[{}][..], &{arg}", std::mem::take(&mut args))),
                _ => args += &format!("{arg}, "),
            }
        }
        let args = match before {
            Some(before) => format!("&[{before}, &[{args}]].concat()"),
            None => format!("&[{args}]"),
        };
        format!(
            "#[allow(clippy::too_many_arguments)]\npub fn {name}<D: Driver>(d: &mut D, grid: Grid{typed}) -> \
             crate::Result<()> {{\n    d.launch({name:?}, grid, {args})\n}}\n"
        )
    };
    let names: Vec<_> = kernels.iter().map(|k| &k.name).collect();
    kernels.iter().map(launcher).collect::<String>()
        + &format!("/// All kernels.\npub const NAMES: &[&str] = &{names:?};\n")
}

/// The kernels compiled for the CPU, and linked into the integration tests.
///
/// # Errors
/// What the C++ compiler says. The program needs none of this.
fn emulator(out: &str, kernels: &[Kernel]) -> Result<(), String> {
    println!("cargo::rerun-if-env-changed=CXX");
    println!("cargo::rerun-if-env-changed=VAE_GPU_EMULATOR");
    if env::var("VAE_GPU_EMULATOR").is_ok_and(|policy| policy == "none") {
        return Ok(());
    }
    // The emulator changes stacks, and finds shared memory among the thread-local variables, as Linux lays them out.
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system != "linux") {
        return Err("the emulator of the kernels, and so cargo test, is for Linux".into());
    }
    let cxx = env::var("CXX").unwrap_or("c++".into());
    let entries: String = kernels.iter().map(|k| format!("    emu::entry<&{0}>(\"{0}\"),\n", k.name)).collect();
    let table = format!("const std::vector<emu::Kernel> emu::kernels = {{\n{entries}}};\n");
    let source = format!("#include \"host/cuda.h\"\n#include \"kernels.cu\"\n{table}");
    let registry = format!("{out}/registry.cpp");
    fs::write(&registry, source).unwrap();

    // Every rounding is what an instruction says, and no product and sum become one.
    let exact = ["-O2", "-ffp-contract=off", "-frounding-math"];
    // With the hooks before every load and store that emulator.cpp defines itself.
    let hooked = ["-O1", "-fsanitize=thread,alignment"];
    let sources: [(&str, &[&str]); 5] = [
        // no fortified longjmp: it refuses to move between fibers
        ("kernels/host/emulator.cpp", &["-O2", "-U_FORTIFY_SOURCE"]),
        (&registry, &hooked),
        ("kernels/host/ptx.cpp", &["-O2"]),
        ("kernels/host/ptx_instructions.cpp", &exact),
        ("kernels/host/faults.cpp", &hooked), // last: for tests alone
    ];
    let objects = side_by_side(sources, |(source, flags)| {
        let object = format!("{out}/{}.o", Path::new(source).file_stem().unwrap().display());
        let common = ["-std=c++20", "-Wall", "-Wno-unknown-pragmas", "-fPIC", "-fno-strict-aliasing"];
        let files = ["-Ikernels", "-I", out, "-c", source, "-o", &object];
        run(Command::new(&cxx).args(common).args(flags).args(files)).map(|_| object)
    })?;
    for flag in objects.iter().map(String::as_str).chain(["-lstdc++", "-lm"]) {
        println!("cargo::rustc-link-arg-tests={flag}");
    }
    #[cfg(unix)]
    if env::var_os("CARGO_FEATURE_CUDA").is_some() {
        return stand_in::build(out, &cxx, &objects[..objects.len() - 1]);
    }
    Ok(())
}

/// To its end: what the command says on stderr, as a report or as the reason of a failure.
fn run(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{program}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{program} fails:\n{said}")) }
}

/// All of them at once; what came of them in their order, or the first failure.
fn side_by_side<T: Send, R: Send, const N: usize>(
    items: [T; N],
    work: impl Fn(T) -> Result<R, String> + Sync,
) -> Result<Vec<R>, String> {
    let work = &work;
    thread::scope(|s| {
        let threads = items.map(|item| s.spawn(move || work(item)));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The first lines of why something failed.
fn warn(why: &str) {
    why.lines().take(3).for_each(|line| println!("cargo::warning={line}"));
}
