//! Links the stand-in CUDA libraries of kernels/host, which run the shipped program in tests without a GPU.
use super::{run, side_by_side};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Into `$OUT_DIR/stand_in`, around an emulator compiled to these objects. `cxx` is the C++ compiler.
///
/// # Errors
/// What it says.
pub fn build(out: &str, cxx: &str, emulator: &[String]) -> Result<(), String> {
    let libraries = format!("{out}/stand_in");
    fs::create_dir_all(&libraries).unwrap();
    let compile = |name: &str| {
        let (source, object) = (format!("kernels/host/{name}.cpp"), format!("{out}/{name}.o"));
        let flags = ["-std=c++20", "-O2", "-Wall", "-fPIC", "-Ikernels", "-I", out, "-c", &source, "-o", &object];
        run(Command::new(cxx).args(flags)).map(|_| object)
    };
    let link = |plain: &str, soname: &str, inputs: &[String]| {
        let library = format!("{libraries}/{soname}");
        let flags = format!("-Wl,-z,defs,-soname,{soname}");
        run(Command::new(cxx).args(["-shared", "-o", &library, &flags]).args(inputs).arg("-lm"))?;
        // cudarc tries the plain name first: without it, one of an installed CUDA would win.
        let plain = format!("{libraries}/{plain}");
        if !Path::new(&plain).exists() {
            symlink(soname, plain).unwrap();
        }
        Ok(())
    };
    let mut objects = side_by_side(["libcublas", "libcuda"], compile)?;
    link("libcuda.so", "libcuda.so.1", &[&[objects.pop().unwrap()], emulator].concat())?;
    let libcuda = [format!("-L{libraries}"), "-lcuda".into()];
    link("libcublasLt.so", "libcublasLt.so.13", &[&objects[..], &libcuda].concat())
}
