#include <stdint.h>
#include <stddef.h>
typedef struct { const REAL *x; const int32_t *k; const uint8_t *m; const REAL *b; const int32_t *y;
                 const uint8_t *starts; const REAL *weight; int accumulate; const struct tiny_tuning *tuning; } tiny_inputs;
typedef struct { REAL *p; int32_t *a; REAL *h; } tiny_outputs;
typedef struct { REAL values[39]; } tiny_weights;
typedef struct { REAL *x; REAL *b; } tiny_gradients;
size_t tiny_state_size(int streams);
size_t tiny_workspace_size(int frames, int streams);
size_t tiny_workspace_size_of(int program, int frames, int streams);
size_t tiny_packed_size(void);
int tiny_pack(const tiny_weights *weights, void *packed);
int tiny_pack_threads(const tiny_weights *weights, void *packed, int threads, const void *tuning);
void tiny_reset(void *state, int streams);
void tiny_reset_stream(void *state, int streams, int stream);
void tiny_copy_stream(void *to, int i, const void *from, int j);
size_t tiny_state_entry(int streams, int entry);
size_t tiny_state_row(int entry);
size_t tiny_state_since(int streams);
int tiny_run(const void *packed, void *state, const tiny_inputs *in, tiny_outputs *out, int frames, int streams,
             void *workspace, int threads);
int tiny_step(const void *packed, void *state, const tiny_inputs *in, tiny_outputs *out, int streams, void *workspace,
              int threads);
int tiny_evaluate(const void *packed, void *state, const tiny_inputs *in, int frames, int streams, void *workspace,
                  int threads, REAL *scores);
int tiny_backprop(const void *packed, void *state, const tiny_inputs *in, tiny_outputs *out, int frames, int streams,
                  void *workspace, int threads, tiny_weights *gradient, REAL *loss);
int tiny_vjp(const void *packed, const void *state, const tiny_inputs *in, const tiny_outputs *cotangent,
             const void *state_cotangent, int frames, int streams, void *workspace, int threads,
             tiny_weights *gradient, tiny_gradients *dx, void *state_gradient);
const char *tiny_error(int code);
uint32_t tiny_abi(void);
