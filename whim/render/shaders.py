"""The OpenGL renderer's programs (GLSL 3.30)."""

from __future__ import annotations

from whim.render.types import MAX_LIGHTS

VERTEX = """#version 330
uniform mat4 clip;
in vec3 position; in vec3 normal; in vec3 colour;
out vec3 v_position; out vec3 v_normal; out vec3 v_colour;
void main() {
    v_position = position; v_normal = normal; v_colour = colour;
    gl_Position = clip * vec4(position, 1.0);
}"""

# The same light as in shading.py.
COLOUR = f"""#version 330
uniform int lights;
uniform vec3 towards[{MAX_LIGHTS}]; uniform vec3 strength[{MAX_LIGHTS}];
uniform vec3 sky; uniform vec3 ground; uniform vec3 surface;  // wrap, specular, shininess
in vec3 v_position; in vec3 v_normal; in vec3 v_colour;
out vec4 colour;
void main() {{
    vec3 normal = v_normal / max(length(v_normal), 1e-20) * (gl_FrontFacing ? 1.0 : -1.0);
    vec3 view = -normalize(v_position);
    vec3 diffuse = mix(ground, sky, 0.5 - 0.5 * normal.y);
    vec3 highlight = vec3(0.0);
    for (int i = 0; i < lights; i++) {{
        float facing = dot(normal, towards[i]);
        diffuse += max((facing + surface.x) / (1.0 + surface.x), 0.0) * strength[i];
        float half_way = max(dot(normal, normalize(view + towards[i])), 0.0);
        float gloss = half_way > 0.0 ? pow(half_way, surface.z) : 0.0;
        highlight += surface.y * gloss * max(facing, 0.0) * strength[i];
    }}
    colour = vec4(v_colour * diffuse + highlight, 1.0);
}}"""

GEOMETRY = """#version 330
uniform int first_face;
in vec3 v_position;
out vec2 geometry;  // depth, number of the face from 1
void main() { geometry = vec2(v_position.z, float(first_face + gl_PrimitiveID + 1)); }"""

WHOLE_PICTURE = """#version 330
void main() {  // one triangle that covers everything
    gl_Position = vec4(4.0 * float(gl_VertexID & 1) - 1.0, 4.0 * float(gl_VertexID >> 1) - 1.0, 0.0, 1.0);
}"""

_MEAN = """#version 330
const int factor = FACTOR;
uniform sampler2D samples;
out vec4 colour;
void main() {
    ivec2 corner = ivec2(gl_FragCoord.xy) * factor;
    vec4 total = vec4(0.0);
#if FACTOR % 2 == 0
    // A linear fetch from where four texels meet is their mean.
    vec2 texel = 1.0 / vec2(textureSize(samples, 0));
    for (int y = 1; y < factor; y += 2)
        for (int x = 1; x < factor; x += 2) total += 4.0 * texture(samples, vec2(corner + ivec2(x, y)) * texel);
#else
    for (int y = 0; y < factor; y++)
        for (int x = 0; x < factor; x++) total += texelFetch(samples, corner + ivec2(x, y), 0);
#endif
    colour = total / float(factor * factor);
}"""


def mean(factor: int) -> str:
    """The program that takes the mean of ``factor`` squared samples; a constant, so that its loops unroll."""
    return _MEAN.replace("FACTOR", str(factor))
