//! Drivers and GPUs for which the build has no code: older than the CUDA that compiled it, later than Hopper.
use crate::program::{folder, run_on_stand_in, write_idx};
use vae_gpu::device::cuda::image;

/// What the stand-in says of itself: CUDA's version, the GPU's compute capability, cuBLAS's version.
fn of(version: &'static str, capability: &'static str, cublas: &'static str) -> [(&'static str, &'static str); 3] {
    [("STAND_IN_VERSION", version), ("STAND_IN_CAPABILITY", capability), ("STAND_IN_CUBLAS", cublas)]
}

#[test]
fn the_driver_compiles_what_the_build_has_no_code_for() {
    if image::RELEASE.is_empty() {
        println!("skipped: this build has no kernels to compile");
        return;
    }
    let folder = folder("drivers");
    write_idx(&folder.join("data"), 30, 5);
    let trained = |out: &str, env: &[(&str, &str)]| {
        let line = format!("train --data data --hidden 9 --latent 3 --batch 10 --steps 7 --device cuda --out {out}");
        run_on_stand_in(&folder, &line, env).succeeded();
        std::fs::read(folder.join(out).join("model.safetensors")).unwrap()
    };
    let hopper = of("13000", "90", "130100");
    let mut models = vec![];
    for (n, (env, by_driver)) in [
        (hopper, false),
        (of("13000", "80", "130100"), false),
        (of("13000", "89", "130100"), false),
        (of("13000", "120", "130100"), true),
        (of("12080", "120", "120800"), true),
        (of("12040", "90", "120400"), true),
        (of("12000", "86", "120000"), true),
    ]
    .into_iter()
    .enumerate()
    {
        let info = run_on_stand_in(&folder, "info", &env);
        let says = info.stdout.lines().find(|line| line.starts_with("gpu      kernels: ")).unwrap();
        assert!(says.contains(&format!("compiled by nvcc {}", image::RELEASE)), "{says}");
        assert_eq!(says.contains("by the driver"), by_driver, "{env:?}: {says}");
        models.push(trained(&n.to_string(), &env));
    }
    // PTX although there is code.
    let env = [&hopper[..], &[(image::PTX, "1")]].concat();
    let info = run_on_stand_in(&folder, "info", &env);
    assert!(info.stdout.contains("by the driver"), "{}", info.stdout);
    models.push(trained("jit", &env));
    assert!(models.iter().all(|model| *model == models[0]), "another driver, other bytes");
}

/// The program as it is shipped, and the PTX that it hands over, executed: it trains to the numbers of the CPU.
#[test]
fn what_the_driver_compiles_trains_as_the_cpu_does() {
    // Of another the executor may not know every instruction.
    if image::RELEASE != "13.0" {
        println!("skipped: this build has no PTX of nvcc 13.0");
        return;
    }
    let folder = folder("drivers-executed");
    write_idx(&folder.join("data"), 30, 5);
    // tanh: no number is so near to a relu's bend that its rounding decides.
    let train = "train --data data --hidden 9 --latent 3 --activation tanh --batch 10 --steps 7 --quiet";
    let elbo = |run: &str| {
        let said = run_on_stand_in(&folder, &format!("eval {run} --data data --device cpu --json"), &[]).succeeded();
        serde_json::from_str::<serde_json::Value>(&said.stdout).unwrap()["elbo"].as_f64().unwrap()
    };
    run_on_stand_in(&folder, &format!("{train} --device cpu --out cpu"), &[]).succeeded();
    for capability in ["80", "90"] {
        let env = [&of("12040", capability, "120400")[..], &[("STAND_IN_EXECUTE", "1")]].concat();
        run_on_stand_in(&folder, &format!("{train} --device cuda --out {capability}"), &env).succeeded();
        let (got, want) = (elbo(capability), elbo("cpu"));
        assert!((got - want).abs() < 1e-4, "sm_{capability}: {got}, on the CPU {want}"); // seven steps in f32, of 17 nats
    }
}

/// As in a container that has libcuda.so.1 and not the library beside it that compiles.
#[test]
fn a_driver_without_a_compiler_is_told_and_the_cpu_serves() {
    let folder = folder("drivers-without-compiler");
    write_idx(&folder.join("data"), 30, 5);
    let env = [&of("12040", "90", "120400")[..], &[("STAND_IN_JIT", "0")]].concat();
    let sentence = match image::RELEASE {
        "" => image::NO_KERNELS.to_string(),
        release => format!(
            "the driver can neither load nor compile the kernels: as told (CUDA error 221): update it to CUDA {release}, \
             of which they are"
        ),
    };
    let train = "train --data data --hidden 9 --latent 3 --steps 3 --out run";
    let asked = run_on_stand_in(&folder, &format!("{train} --device cuda"), &env);
    asked.refused(1, &sentence);
    let chosen = run_on_stand_in(&folder, train, &env).succeeded();
    assert!(chosen.stderr.starts_with(&format!("{sentence}; running on the CPU\n")), "{}", chosen.stderr);
    // Where there is code, nothing needs to be compiled.
    if !image::RELEASE.is_empty() {
        let env = [&of("13000", "90", "130100")[..], &[("STAND_IN_JIT", "0")]].concat();
        run_on_stand_in(&folder, &format!("{train} --device cuda --force"), &env).succeeded();
    }
}
