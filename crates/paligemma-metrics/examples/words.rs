//! throwaway
fn main() {
    for l in std::io::stdin().lines() {
        println!("{}", paligemma_metrics::caption_words(&l.unwrap()).join(" "));
    }
}
