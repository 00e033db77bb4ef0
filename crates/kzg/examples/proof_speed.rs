//! What this crate takes beside c-kzg and blst: one process, one thread, ours and theirs in turn, best of N.
//! Every ratio is theirs ÷ ours in time, so that more is better.
//!
//! `cargo run --release -p holdfast-kzg --features test-setup --example proof_speed [-- commit|fold|verify|batch] [plain|avx512-fma|avx512-ifma]`

#![allow(unsafe_code, reason = "the peers are C: their Rust wrappers take every core")]

use std::{
    array, env,
    hint::black_box,
    ptr,
    time::{Duration, Instant},
};

use blst::{blst_fp6, blst_fp12, blst_fr, blst_p1, blst_p1_affine, blst_p2_affine, blst_scalar};
use holdfast_kzg::{
    BLOB_LEN, CheckedCommitment, CpuPath, ELEMENT_LEN, ELEMENTS_PER_BLOB, Fold, FoldClaim, Gamma, Scalar, Setup,
    Verdict, pack, verify, verify_batch,
};

/// The least time of each of two pieces of work, done in turn.
fn versus<A, B>(rounds: usize, mut ours: impl FnMut() -> A, mut theirs: impl FnMut() -> B) -> (f64, f64) {
    let mut best = [Duration::MAX; 2];
    for _ in 0..rounds {
        best[0] = best[0].min(time(&mut ours));
        best[1] = best[1].min(time(&mut theirs));
    }
    (best[0].as_secs_f64(), best[1].as_secs_f64())
}

fn time<T>(work: &mut impl FnMut() -> T) -> Duration {
    let begin = Instant::now();
    black_box(work());
    begin.elapsed()
}

fn report(what: &str, peer: &str, (ours, theirs): (f64, f64)) {
    println!("{what}: {:.3} ms, {peer} {:.3} ms, ratio {:.2}", ours * 1e3, theirs * 1e3, theirs / ours);
}

fn blob(seed: u64) -> Vec<u8> {
    let mut out = vec![0; BLOB_LEN];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn gamma(seed: u64) -> Gamma {
    Gamma(u128::from(seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn committing(path: CpuPath) {
    let setup = Setup::ethereum_on(path).expect("an available path");
    let mut seed = 0;
    let first = time(&mut || setup.commit(&blob(0)));
    let rented: Duration = (0..4).map(|seed| time(&mut || setup.commit(&blob(seed)))).min().unwrap_or_default();
    let table = time(&mut || setup.prepare());
    println!("first commit {first:.1?}, without the table {rented:.1?}, table {table:.1?}");
    let theirs = c_kzg::ethereum_kzg_settings(0);
    let bytes = blob(7);
    let expanded = c_kzg::Blob::from_bytes(&pack(&bytes).expect("a blob")[..]).expect("a blob");
    assert_eq!(
        setup.commit(&bytes).expect("a blob").0,
        *theirs.blob_to_kzg_commitment(&expanded).expect("a blob").to_bytes()
    );
    let times = versus(
        20,
        || {
            seed += 1;
            setup.commit(&blob(seed))
        },
        || theirs.blob_to_kzg_commitment(&expanded),
    );
    report("commit", "c-kzg", times);
}

/// The fold as a user of blst would write it: bytes to a scalar, to a field element, multiply, add.
fn blst_fold(blobs: &[Vec<u8>], gammas: &[blst_fr]) -> Vec<blst_fr> {
    let mut sums = vec![blst_fr::default(); ELEMENTS_PER_BLOB];
    for (bytes, gamma) in blobs.iter().zip(gammas) {
        for (sum, element) in sums.iter_mut().zip(bytes.chunks_exact(ELEMENT_LEN)) {
            let (mut scalar, mut value) = (blst_scalar::default(), blst_fr::default());
            // SAFETY: initialised values that outlive the calls; the element is 31 readable bytes.
            unsafe {
                blst::blst_scalar_from_be_bytes(&mut scalar, element.as_ptr(), ELEMENT_LEN);
                blst::blst_fr_from_scalar(&mut value, &scalar);
                blst::blst_fr_mul(&mut value, &value, gamma);
                blst::blst_fr_add(sum, sum, &value);
            }
        }
    }
    sums
}

/// The same by one who knows the field's form: words are loaded as they are, and γ makes up for it.
fn careful_blst_fold(blobs: &[Vec<u8>], gammas: &[blst_fr]) -> Vec<blst_fr> {
    let mut sums = vec![blst_fr::default(); ELEMENTS_PER_BLOB];
    for (bytes, gamma) in blobs.iter().zip(gammas) {
        for (sum, element) in sums.iter_mut().zip(bytes.as_chunks::<ELEMENT_LEN>().0) {
            let word = |at: usize| u64::from_be_bytes(array::from_fn(|i| element[at + i]));
            let mut value = blst_fr { l: [word(23), word(15), word(7), word(0) >> 8] };
            // SAFETY: as above.
            unsafe {
                blst::blst_fr_mul(&mut value, &value, gamma);
                blst::blst_fr_add(sum, sum, &value);
            }
        }
    }
    sums
}

/// γ in blst's form, or that once more (so that a product with plain words is in blst's form).
fn blst_gamma(gamma: Gamma, twice: bool) -> blst_fr {
    let mut out = blst_fr::default();
    let limbs = [gamma.0 as u64, (gamma.0 >> 64) as u64, 0, 0];
    // SAFETY: as above; blst reads four limbs.
    unsafe { blst::blst_fr_from_uint64(&mut out, limbs.as_ptr()) };
    if twice {
        let again = out.l;
        // SAFETY: as above.
        unsafe { blst::blst_fr_from_uint64(&mut out, again.as_ptr()) };
    }
    out
}

fn fold_on(path: CpuPath, blobs: &[Vec<u8>]) -> Fold {
    let mut fold = Fold::on(path).expect("an available path");
    for (bytes, seed) in blobs.iter().zip(0..) {
        fold.absorb(gamma(seed), 0, bytes).expect("whole blobs");
    }
    fold
}

fn folding(path: CpuPath) {
    let setup = Setup::ethereum_on(path).expect("an available path");
    setup.prepare();
    let points: Vec<blst_p1_affine> = (0..ELEMENTS_PER_BLOB as u64).map(multiple_of_generator).collect();
    for count in [8u64, 64, 512] {
        let blobs: Vec<Vec<u8>> = (0..count).map(blob).collect();
        let gammas = |twice| (0..count).map(|seed| blst_gamma(gamma(seed), twice)).collect::<Vec<_>>();
        let (plain, twice) = (gammas(false), gammas(true));
        let sums = blst_fold(&blobs, &plain);
        assert!(sums == careful_blst_fold(&blobs, &twice));
        let (ours, theirs) = versus(5, || fold_on(path, &blobs), || blst_fold(&blobs, &plain));
        report(&format!("fold of {count}"), "blst_fr from bytes", (ours, theirs));
        let careful = versus(5, || fold_on(path, &blobs), || careful_blst_fold(&blobs, &twice));
        report(&format!("fold of {count}"), "blst_fr without conversion", careful);
        let bytes = count as f64 * BLOB_LEN as f64;
        println!(
            "    {:.2} GB/s, blst {:.2} and {:.2}",
            bytes / ours / 1e9,
            bytes / theirs / 1e9,
            bytes / careful.1 / 1e9
        );
        let z = Scalar::from(77);
        // blst's opening without evaluation and quotient, which it has not: its fold and one sum of products.
        let scalars: Vec<u8> = sums.iter().flat_map(|sum| sum.l).flat_map(|limb| (limb >> 1).to_le_bytes()).collect();
        let times = versus(
            3,
            || fold_on(path, &blobs).open(&setup, z),
            || (blst_fold(&blobs, &plain), blst_sum(&points, &scalars, 255)),
        );
        report(&format!("fold of {count} and opening"), "blst", times);
    }
}

fn multiple_of_generator(multiple: u64) -> blst_p1_affine {
    let (mut point, mut affine) = (blst_p1::default(), blst_p1_affine::default());
    // SAFETY: initialised values that outlive the calls; 64 bits are 8 bytes.
    unsafe {
        blst::blst_p1_mult(&mut point, blst::blst_p1_generator(), (multiple + 1).to_le_bytes().as_ptr(), 64);
        blst::blst_p1_to_affine(&mut affine, &point);
    }
    affine
}

/// blst's Pippenger on this thread.
fn blst_sum(points: &[blst_p1_affine], scalars: &[u8], bits: usize) -> blst_p1 {
    assert_eq!(scalars.len(), points.len() * bits.div_ceil(8));
    let mut out = blst_p1::default();
    // SAFETY: lists begin contiguous slices with an entry for each point; the scratch is as long as blst asks.
    unsafe {
        let mut scratch = vec![0u64; blst::blst_p1s_mult_pippenger_scratch_sizeof(points.len()).div_ceil(8)];
        let (points_at, scalars_at) = ([points.as_ptr(), ptr::null()], [scalars.as_ptr(), ptr::null()]);
        let scratch = scratch.as_mut_ptr();
        blst::blst_p1s_mult_pippenger(&mut out, points_at.as_ptr(), points.len(), scalars_at.as_ptr(), bits, scratch);
    }
    out
}

/// Two pairings and whether they cancel, over prepared lines as ours.
fn blst_pairings(points: [&blst_p1_affine; 2], lines: &[Vec<blst_fp6>; 2]) -> bool {
    let (mut first, mut second, mut product) = (blst_fp12::default(), blst_fp12::default(), blst_fp12::default());
    // SAFETY: each list holds the 68 lines of a point of G2.
    unsafe {
        blst::blst_miller_loop_lines(&mut first, lines[0].as_ptr(), points[0]);
        blst::blst_miller_loop_lines(&mut second, lines[1].as_ptr(), points[1]);
        blst::blst_fp12_mul(&mut product, &first, &second);
        blst::blst_final_exp(&mut first, &product);
        blst::blst_fp12_is_one(&first)
    }
}

fn generator_lines() -> Vec<blst_fp6> {
    let mut lines = vec![blst_fp6::default(); 68];
    // SAFETY: blst writes 68 lines of a constant of its own.
    unsafe { blst::blst_precompute_lines(lines.as_mut_ptr(), blst::blst_p2_affine_generator()) };
    lines
}

/// blst's loop over both pairs at once, nothing prepared.
fn blst_pairings_unprepared(points: [&blst_p1_affine; 2]) -> bool {
    let (mut product, mut result) = (blst_fp12::default(), blst_fp12::default());
    // SAFETY: both lists have two entries.
    unsafe {
        let two: [*const blst_p2_affine; 2] = [blst::blst_p2_affine_generator(); 2];
        blst::blst_miller_loop_n(&mut product, two.as_ptr(), points.map(ptr::from_ref).as_ptr(), 2);
        blst::blst_final_exp(&mut result, &product);
        blst::blst_fp12_is_one(&result)
    }
}

/// One node's terms (γ, commitment), its point, its answer.
struct Answer {
    terms: Vec<(Gamma, CheckedCommitment)>,
    z: Scalar,
    opening: holdfast_kzg::Opening,
}

/// Proving many answers takes a known secret; verifying is the same for any setup.
fn answers(setup: &Setup, nodes: u64, blobs: u64) -> Vec<Answer> {
    let one = |node: u64| {
        let mut fold = Fold::new();
        let terms = (node * blobs..(node + 1) * blobs).map(|at| {
            let bytes = &blob(at)[..310];
            fold.absorb(gamma(at), 0, bytes).expect("a blob");
            let commitment = setup.commit(bytes).expect("a blob");
            (gamma(at), CheckedCommitment::parse(&commitment).expect("a point"))
        });
        let terms = terms.collect();
        let z = Scalar::from(node + 1);
        Answer { terms, z, opening: fold.open(setup, z) }
    };
    (0..nodes).map(one).collect()
}

fn verifying(_: CpuPath) {
    let setup = Setup::insecure_from_tau(Scalar::from(123_456_789));
    for count in [8, 64, 512, 4096] {
        let answer = &answers(&setup, 1, count)[0];
        let terms: Vec<_> = answer.terms.iter().map(|(gamma, commitment)| (*gamma, commitment)).collect();
        let claim = FoldClaim { terms: &terms, z: answer.z, opening: answer.opening };
        assert_eq!(verify(&setup, &claim), Verdict::Holds);
        let points: Vec<blst_p1_affine> = (0..count).map(multiple_of_generator).collect();
        let scalars: Vec<u8> = terms.iter().flat_map(|(gamma, _)| gamma.0.to_le_bytes()).collect();
        let lines = [generator_lines(), generator_lines()];
        let ours = || verify(&setup, &claim);
        let prepared = || (blst_sum(&points, &scalars, 128), blst_pairings([&points[0], &points[1]], &lines));
        let unprepared = || (blst_sum(&points, &scalars, 128), blst_pairings_unprepared([&points[0], &points[1]]));
        report(&format!("verify {count}"), "blst's sum and pairings", versus(15, ours, unprepared));
        report(&format!("verify {count}"), "the same over prepared lines", versus(15, ours, prepared));
    }
}

fn batching(_: CpuPath) {
    let setup = Setup::insecure_from_tau(Scalar::from(123_456_789));
    let answers = answers(&setup, 256, 64);
    let terms: Vec<Vec<_>> =
        answers.iter().map(|answer| answer.terms.iter().map(|(gamma, point)| (*gamma, point)).collect()).collect();
    let claims: Vec<FoldClaim<'_>> = answers
        .iter()
        .zip(&terms)
        .map(|(answer, terms)| FoldClaim { terms, z: answer.z, opening: answer.opening })
        .collect();
    assert!(verify_batch(&setup, &claims, [7; 32]).all_hold());
    let times = versus(
        5,
        || verify_batch(&setup, &claims, [7; 32]),
        || claims.iter().filter(|claim| verify(&setup, claim) == Verdict::Holds).count(),
    );
    report("256 answers of 64 in one batch", "one by one", times);
}

fn main() {
    let asked: Vec<String> = env::args().skip(1).collect();
    let paths = [CpuPath::Plain, CpuPath::Avx512Fma, CpuPath::Avx512Ifma];
    let wanted = |names: &[&str], name: &str| {
        !asked.iter().any(|a| names.contains(&a.as_str())) || asked.iter().any(|a| a == name)
    };
    let parts = [("commit", committing as fn(CpuPath)), ("fold", folding), ("verify", verifying), ("batch", batching)];
    for (name, part) in parts {
        for path in paths.into_iter().filter(|path| path.is_available()) {
            // These two are of the process's own path.
            let own = !matches!(name, "verify" | "batch") || path == CpuPath::detected();
            if own && wanted(&parts.map(|(name, _)| name), name) && wanted(&paths.map(CpuPath::name), path.name()) {
                println!("# {name} on {path}");
                part(path);
            }
        }
    }
}
